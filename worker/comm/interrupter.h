// Ends the joining of a group from another thread.
#ifndef TESSERA_WORKER_COMM_INTERRUPTER_H_
#define TESSERA_WORKER_COMM_INTERRUPTER_H_

#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "shard_loader/mutex.h"

namespace tessera::worker {

// Thread-safe. Once interrupted it stays so.
class Interrupter {
 public:
  // Ends the wait of the scope that is open, and of every later one. The first `why` stays.
  void Interrupt(const absl::Status& why) {
    MutexLock lock(mutex_);
    if (why_.ok()) why_ = absl::CancelledError(why.message());
    if (end_) end_(why_);
  }

  // CANCELLED, with the message of Interrupt's `why`; OK where there was none.
  absl::Status interrupted() const {
    MutexLock lock(mutex_);
    return why_;
  }

  // A wait that `end` ends, from whichever thread interrupts. One at a time.
  class Scope {
   public:
    // Calls `end` at once where the interrupter is interrupted already. `interrupter` is borrowed;
    // null: nobody interrupts.
    Scope(Interrupter* interrupter, std::function<void(const absl::Status& why)> end)
        : interrupter_(interrupter) {
      if (interrupter_ != nullptr) interrupter_->Open(std::move(end));
    }
    // `end` is not called any more, nor under way.
    ~Scope() {
      if (interrupter_ != nullptr) interrupter_->Open(nullptr);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Interrupter* const interrupter_;
  };

 private:
  void Open(std::function<void(const absl::Status& why)> end) {
    MutexLock lock(mutex_);
    end_ = std::move(end);
    if (end_ && !why_.ok()) end_(why_);
  }

  mutable Mutex mutex_;
  absl::Status why_ ABSL_GUARDED_BY(mutex_);
  std::function<void(const absl::Status& why)> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_INTERRUPTER_H_
