#include "server/executor/shared_plan.h"

#include <algorithm>
#include <utility>

#include "shard_loader/status_macros.h"

namespace tessera::server {

SharedPlan::Seat::Seat(SharedPlan* shared, const GroupOptions* options,
                       std::vector<internal::v1::Description> descriptions)
    : shared_(shared), options_(options), descriptions_(std::move(descriptions)) {
  MutexLock lock(shared_->mutex_);
  shared_->places_[options_->replica] = {.descriptions = &descriptions_, .failure = {}};
}

SharedPlan::Seat::~Seat() {
  MutexLock lock(shared_->mutex_);
  shared_->places_.erase(options_->replica);
}

absl::StatusOr<std::optional<GroupPlan>> SharedPlan::Seat::Poll() {
  if (options_->num_replicas == 1) return DecideGroup(*options_, descriptions_);
  MutexLock lock(shared_->mutex_);
  if (!shared_->decided_) RETURN_IF_ERROR(shared_->Decide(*options_));
  return shared_->decided_;
}

absl::Status SharedPlan::Decide(const GroupOptions& options) {
  const absl::Status& failure = places_.at(options.replica).failure;
  if (!failure.ok()) return failure;
  // Those who were told of a failure leave, and come back with what their ranks say then.
  const bool fresh = std::all_of(places_.begin(), places_.end(),
                                 [](const auto& place) { return place.second.failure.ok(); });
  if (!fresh || static_cast<int>(places_.size()) < options.num_replicas) return absl::OkStatus();
  std::vector<internal::v1::Description> all;
  for (const auto& [replica, place] : places_) {
    all.insert(all.end(), place.descriptions->begin(), place.descriptions->end());
  }
  absl::StatusOr<GroupPlan> plan = DecideGroup(options, all);
  if (plan.ok()) {
    decided_ = *std::move(plan);
    return absl::OkStatus();
  }
  for (auto& [replica, place] : places_) place.failure = plan.status();
  return plan.status();
}

}  // namespace tessera::server
