// What GetStatus shows, written by the group's thread and read by any.
#ifndef TESSERA_SERVER_EXECUTOR_STATUS_BOARD_H_
#define TESSERA_SERVER_EXECUTOR_STATUS_BOARD_H_

#include <utility>

#include "absl/base/thread_annotations.h"
#include "server/executor/executor.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// Thread-safe.
class StatusBoard {
 public:
  explicit StatusBoard(GroupStatus status) : status_(std::move(status)) {}

  GroupStatus Read() const {
    MutexLock lock(mutex_);
    return status_;
  }
  // `change(GroupStatus&)` is run under the lock.
  template <typename Change>
  void Update(Change&& change) {
    MutexLock lock(mutex_);
    change(status_);
  }

 private:
  mutable Mutex mutex_;
  GroupStatus status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_STATUS_BOARD_H_
