// Steps as internal/v1/worker.proto carries them, and a rank's results as the engine takes them.
#ifndef TESSERA_SERVER_EXECUTOR_STEP_CODEC_H_
#define TESSERA_SERVER_EXECUTOR_STEP_CODEC_H_

#include "internal/v1/worker.pb.h"
#include "server/scheduler/step.h"

namespace tessera::server {

void ToProto(const Step& step, internal::v1::Step* to);
StepResult FromProto(const internal::v1::StepResult& from);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_STEP_CODEC_H_
