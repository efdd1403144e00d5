#include "worker/model/workspace.h"

#include "shard_loader/status_macros.h"

namespace tessera::worker {

absl::StatusOr<Workspace> Workspace::Create(const shard_loader::RankPlan& plan,
                                            const shard_loader::WorkspaceLayout& layout) {
  Workspace workspace;
  workspace.layout_ = layout;
  ASSIGN_OR_RETURN(workspace.arena_, Buffer::Allocate(layout.arena_bytes, "the workspace"));
  workspace.lane_sum_.Reserve(layout.lane_sum_bytes, plan.layout.tp);
  return workspace;
}

}  // namespace tessera::worker
