// Messages of internal/v1/worker.proto as the runner's plain data, and its results back.
#ifndef TESSERA_WORKER_APP_STEP_CODEC_H_
#define TESSERA_WORKER_APP_STEP_CODEC_H_

#include "absl/status/statusor.h"
#include "internal/v1/worker.pb.h"
#include "shard_loader/plan/kv_format.h"
#include "worker/runner/step.h"

namespace tessera::worker {

// UNIMPLEMENTED for a name that is none.
absl::StatusOr<shard_loader::KvFormat> KvFormatOf(const internal::v1::Load& load);
StepInput FromProto(const internal::v1::Step& step);
internal::v1::StepResult ToProto(const StepOutput& output);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_STEP_CODEC_H_
