// The plan that all groups of a server have in common: a request gets one answer, on whichever it
// is computed.
#ifndef TESSERA_SERVER_EXECUTOR_SHARED_PLAN_H_
#define TESSERA_SERVER_EXECUTOR_SHARED_PLAN_H_

#include <map>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "internal/v1/worker.pb.h"
#include "server/executor/group_options.h"
#include "server/executor/group_plan.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// The plan is decided when all groups have a seat, and then stays. A decision that fails is told to
// those who were seated for it and to nobody else: it is made anew when all have come back.
// Thread-safe.
class SharedPlan {
 public:
  // One life of a group that has no plan yet, while its ranks are there: a plan is never decided
  // from what ranks said that are gone. At most one at a time for each group; used by one thread.
  class Seat {
   public:
    // `shared` and `options` are borrowed.
    Seat(SharedPlan* shared, const GroupOptions* options,
         std::vector<internal::v1::Description> descriptions);
    ~Seat();
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

    // nullopt until it is decided. After an error the seat is to be left. A group that is alone is
    // planned from its own ranks, anew each time.
    absl::StatusOr<std::optional<GroupPlan>> Poll();

   private:
    SharedPlan* const shared_;
    const GroupOptions* const options_;
    const std::vector<internal::v1::Description> descriptions_;
  };

 private:
  struct Place {
    const std::vector<internal::v1::Description>* descriptions = nullptr;
    absl::Status failure;  // of the decision that was made with it
  };

  absl::Status Decide(const GroupOptions& options) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::map<int, Place> places_ ABSL_GUARDED_BY(mutex_);  // by replica
  std::optional<GroupPlan> decided_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_SHARED_PLAN_H_
