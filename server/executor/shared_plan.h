// The plan that all groups of a server have in common: a request gets one answer, on whichever it
// is computed.
#ifndef TESSERA_SERVER_EXECUTOR_SHARED_PLAN_H_
#define TESSERA_SERVER_EXECUTOR_SHARED_PLAN_H_

#include <map>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "internal/v1/worker.pb.h"
#include "server/executor/group_options.h"
#include "server/executor/group_plan.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// Thread-safe.
class SharedPlan {
 public:
  // The ranks of a group that has no plan yet describe themselves so. The plan is decided when
  // those of all groups have, and then stays: nullopt until then. A group that is alone is planned
  // anew each time.
  absl::StatusOr<std::optional<GroupPlan>> Join(
      const GroupOptions& options, const std::vector<internal::v1::Description>& descriptions);

 private:
  Mutex mutex_;
  std::map<int, std::vector<internal::v1::Description>> groups_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::StatusOr<GroupPlan>> decided_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_SHARED_PLAN_H_
