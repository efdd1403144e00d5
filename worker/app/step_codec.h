// Steps of internal/v1/worker.proto as the runner's plain data, and its results back.
#ifndef TESSERA_WORKER_APP_STEP_CODEC_H_
#define TESSERA_WORKER_APP_STEP_CODEC_H_

#include "internal/v1/worker.pb.h"
#include "worker/runner/step.h"

namespace tessera::worker {

StepInput FromProto(const internal::v1::Step& step);
internal::v1::StepResult ToProto(const StepOutput& output);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_STEP_CODEC_H_
