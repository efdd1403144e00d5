// What happens to a group, one thing after the other: the ranks' threads put it in, the group's
// thread takes it out.
#ifndef TESSERA_SERVER_EXECUTOR_MAILBOX_H_
#define TESSERA_SERVER_EXECUTOR_MAILBOX_H_

#include <chrono>
#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "internal/v1/worker.pb.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

struct GroupEvent {
  enum class Kind {
    kReply,        // `reply` of `rank`
    kStreamEnded,  // the session with `rank`, and `status` says how
    kProcessLost,  // the process of `rank`, likewise; rank -1: of all ranks
    kStop,         // the executor is told to end
  };
  Kind kind = Kind::kReply;
  int rank = -1;
  internal::v1::Reply reply;
  absl::Status status;
};

// Thread-safe.
class Mailbox {
 public:
  void Put(GroupEvent event) {
    MutexLock lock(mutex_);
    events_.push_back(std::move(event));
    changed_.NotifyOne();
  }

  // The next event; nullopt where none has come by `deadline`.
  std::optional<GroupEvent> Take(std::chrono::steady_clock::time_point deadline) {
    MutexLock lock(mutex_);
    while (events_.empty()) {
      if (std::chrono::steady_clock::now() >= deadline) return std::nullopt;
      changed_.WaitUntil(mutex_, deadline);
    }
    GroupEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::deque<GroupEvent> events_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_MAILBOX_H_
