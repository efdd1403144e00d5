#include "worker/runner/host_side.h"

#include "shard_loader/status_macros.h"
#include "worker/backend/kernel_sets.h"

namespace tessera::worker {

absl::StatusOr<std::unique_ptr<HostSide>> HostSide::Create(
    Memory* memory, const shard_loader::WorkspaceLayout& layout) {
  std::unique_ptr<HostSide> side(new HostSide());
  side->memory_ = memory;
  ASSIGN_OR_RETURN(const std::string kernels, ResolveKernelSet("auto"));
  ASSIGN_OR_RETURN(side->backend_, MakeBackend(kernels, /*threads=*/1));
  ASSIGN_OR_RETURN(side->sampling_, Buffer::Allocate(layout.sampling.bytes, "sampling"));
  side->floats_.resize(static_cast<size_t>(layout.logits.bytes) / sizeof(float));
  return side;
}

absl::StatusOr<const float*> HostSide::Bring(const float* device, int64_t count) {
  if (count > static_cast<int64_t>(floats_.size())) floats_.resize(count);
  memory_->CopyOut(device, count * static_cast<int64_t>(sizeof(float)), floats_.data());
  RETURN_IF_ERROR(memory_->Finish());
  return floats_.data();
}

}  // namespace tessera::worker
