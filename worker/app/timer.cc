#include "worker/app/timer.h"

#include <chrono>
#include <utility>

namespace tessera::worker {

Timer::Timer(absl::Duration delay, Mode mode, std::function<void()> function)
    : delay_(delay), mode_(mode), function_(std::move(function)), thread_([this] { Loop(); }) {}

Timer::~Timer() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void Timer::Loop() {
  while (Sleep()) {
    function_();
    if (mode_ == Mode::kOnce) return;
  }
}

bool Timer::Sleep() {
  auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(delay_);
  MutexLock lock(mutex_);
  while (!stopped_ && std::chrono::steady_clock::now() < deadline) {
    changed_.WaitUntil(mutex_, deadline);
  }
  return !stopped_;
}

}  // namespace tessera::worker
