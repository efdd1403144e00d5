#include "server/app/end_request.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace tessera::server {
namespace {

sigset_t EndSet() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

void EndRequest::Set(Reason reason) {
  MutexLock lock(mutex_);
  if (!reason_) reason_ = std::move(reason);
  changed_.NotifyAll();
}

EndRequest::Reason EndRequest::Wait() {
  MutexLock lock(mutex_);
  while (!reason_) changed_.Wait(mutex_);
  return *reason_;
}

void BlockEndSignals() {
  sigset_t set = EndSet();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

EndSignals::EndSignals(EndRequest& end, std::function<void()> at_once)
    : end_(end), at_once_(std::move(at_once)), thread_([this] { Run(); }) {}

EndSignals::~EndSignals() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGTERM);  // ends its wait
  thread_.join();
}

int EndSignals::repeated() const {
  MutexLock lock(mutex_);
  return repeated_;
}

void EndSignals::Run() {
  sigset_t set = EndSet();
  for (int count = 1;; ++count) {
    int number = 0;
    if (sigwait(&set, &number) != 0) return;
    {
      MutexLock lock(mutex_);
      if (stop_) return;
      if (count == 2) repeated_ = number;
    }
    if (count == 1)
      end_.Set({.failed = false,
                .why = number == SIGINT ? "SIGINT" : "SIGTERM",
                .timeout = std::nullopt});
    if (count == 2) at_once_();
    if (count > 2) _exit(128 + number);
  }
}

}  // namespace tessera::server
