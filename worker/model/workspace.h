// The memory of a rank's steps, laid out by shard_loader/plan/workspace.h.
#ifndef TESSERA_WORKER_MODEL_WORKSPACE_H_
#define TESSERA_WORKER_MODEL_WORKSPACE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/workspace.h"
#include "worker/comm/lane_sum.h"
#include "worker/tensor/buffer.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

// Thread-compatible: one step at a time.
class Workspace {
 public:
  static absl::StatusOr<Workspace> Create(const shard_loader::RankPlan& plan,
                                          const shard_loader::WorkspaceLayout& layout,
                                          Memory& memory = HostMemory());

  const shard_loader::WorkspaceLayout& layout() const { return layout_; }
  float* At(const shard_loader::ByteSpan& span) { return arena_.floats(span.offset); }
  std::byte* Bytes(const shard_loader::ByteSpan& span) { return arena_.data() + span.offset; }
  // For sums between ranks: on the host, or in the memory of a device.
  LaneSumWorkspace& lane_sum() { return lane_sum_; }
  absl::Span<float> device_sum() {
    return {device_sum_.floats(0), static_cast<size_t>(device_sum_.size()) / sizeof(float)};
  }

 private:
  Workspace() = default;

  shard_loader::WorkspaceLayout layout_;
  Buffer arena_;
  LaneSumWorkspace lane_sum_;
  Buffer device_sum_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_WORKSPACE_H_
