// Calls a function later, or again and again, from a thread of its own.
#ifndef TESSERA_WORKER_APP_TIMER_H_
#define TESSERA_WORKER_APP_TIMER_H_

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "shard_loader/mutex.h"

namespace tessera::worker {

// The destructor ends the thread, waiting for a call under way. Thread-safe.
class Timer {
 public:
  enum class Mode { kOnce, kRepeat };
  // The first call comes after `delay`.
  Timer(absl::Duration delay, Mode mode, std::function<void()> function);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  void Loop();
  // False where the timer is stopped before `delay` has passed.
  bool Sleep();

  const absl::Duration delay_;
  const Mode mode_;
  const std::function<void()> function_;
  Mutex mutex_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_TIMER_H_
