#include "server/executor/shared_plan.h"

#include "shard_loader/status_macros.h"

namespace tessera::server {

absl::StatusOr<std::optional<GroupPlan>> SharedPlan::Join(
    const GroupOptions& options, const std::vector<internal::v1::Description>& descriptions) {
  if (options.num_replicas == 1) return DecideGroup(options, descriptions);
  MutexLock lock(mutex_);
  if (!decided_) {
    groups_[options.replica] = descriptions;
    if (static_cast<int>(groups_.size()) < options.num_replicas) return std::nullopt;
    std::vector<internal::v1::Description> all;
    for (const auto& [replica, ranks] : groups_) all.insert(all.end(), ranks.begin(), ranks.end());
    decided_ = DecideGroup(options, all);
  }
  RETURN_IF_ERROR(decided_->status());
  return **decided_;
}

}  // namespace tessera::server
