#include "worker/model/workspace.h"

#include "shard_loader/status_macros.h"

namespace tessera::worker {

absl::StatusOr<Workspace> Workspace::Create(const shard_loader::RankPlan& plan,
                                            const shard_loader::WorkspaceLayout& layout,
                                            Memory& memory) {
  Workspace workspace;
  workspace.layout_ = layout;
  ASSIGN_OR_RETURN(workspace.arena_, memory.Allocate(layout.arena_bytes, "the workspace"));
  if (memory.on_host()) {
    workspace.lane_sum_.Reserve(layout.lane_sum_bytes, plan.layout.tp);
  } else {
    ASSIGN_OR_RETURN(workspace.device_sum_,
                     memory.Allocate(layout.lane_sum_bytes, "sums between ranks"));
  }
  return workspace;
}

}  // namespace tessera::worker
