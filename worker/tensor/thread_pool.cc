#include "worker/tensor/thread_pool.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "worker/tensor/cpus.h"

namespace tessera::worker {
namespace {

constexpr int kSpins = 500;  // about ten microseconds
constexpr int kYields = 100;
constexpr int kLeftBits = 32;
constexpr uint64_t kLeft = (uint64_t{1} << kLeftBits) - 1;
constexpr timespec kNap = {0, 2'000'000};  // a caller looks again by itself

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Waits until done() without sleeping for ever: spins, then yields. True where it is done.
template <typename Done>
bool SpinThenYield(int yields, const Done& done) {
  for (int i = 0; i < kSpins; ++i) {
    if (done()) return true;
    Pause();
  }
  for (int i = 0; i < yields; ++i) {
    if (done()) return true;
    sched_yield();
  }
  return done();
}

}  // namespace

ThreadPool::ThreadPool(int threads, const std::vector<int>& cpus) {
  const bool own_cpus = threads <= static_cast<int>(cpus.size());
  auto cpu_of = [&](int thread) { return cpus.empty() ? -1 : cpus[thread % cpus.size()]; };
  for (int i = 1; i < threads; ++i) {
    workers_.emplace_back([this, own_cpus, cpu = cpu_of(i)] {
      CpuPin pin(cpu, own_cpus);
      WorkerLoop(pin);
    });
  }
  caller_pin_.emplace(cpu_of(0), own_cpus);  // the last: a new thread may run where its maker may
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  {
    MutexLock lock(mutex_);
    wake_.NotifyAll();
  }
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::RunTasks(int64_t count, const void* body, TaskFunction function) {
  caller_pin_->Check();
  if (workers_.empty() || count <= 1) {
    for (int64_t task = 0; task < count; ++task) function(body, task);
    return;
  }
  body_ = body;
  function_ = function;
  count_ = count;
  done_.store(0, std::memory_order_relaxed);
  tickets_.store(uint64_t{++round_} << kLeftBits | static_cast<uint64_t>(count));
  if (sleepers_.load() > 0) {
    MutexLock lock(mutex_);
    wake_.NotifyAll();
  }
  TakeTasks();
  AwaitTasks();
}

// Tasks always come to an end: they only compute. One whose core is taken may need a time slice,
// which the caller sleeps through.
void ThreadPool::AwaitTasks() {
  const auto count = static_cast<uint32_t>(count_);
  auto all_done = [&] { return done_.load(std::memory_order_acquire) == count; };
  if (SpinThenYield(kYields, all_done)) return;
  caller_sleeps_.store(true);
  for (uint32_t done; (done = done_.load()) != count;) {
    syscall(SYS_futex, &done_, FUTEX_WAIT_PRIVATE, done, &kNap, nullptr, 0);
  }
  caller_sleeps_.store(false);
}

void ThreadPool::TakeTasks() {
  uint32_t taken = 0;
  // The round above the count keeps a ticket of an earlier one from being taken for one of this.
  for (uint64_t tickets = tickets_.load(); (tickets & kLeft) != 0;) {
    if (!tickets_.compare_exchange_weak(tickets, tickets - 1)) continue;
    function_(body_, count_ - static_cast<int64_t>(tickets & kLeft));
    ++taken;
    tickets = tickets_.load();
  }
  if (taken == 0) return;
  const auto count = static_cast<uint32_t>(count_);  // before the round may end
  const bool last = done_.fetch_add(taken) + taken == count;
  if (last && caller_sleeps_.load()) {
    syscall(SYS_futex, &done_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
}

void ThreadPool::WorkerLoop(CpuPin& pin) {
  auto ready = [this] { return stop_.load() || (tickets_.load() & kLeft) != 0; };
  while (true) {
    if (!SpinThenYield(kYields, ready)) {
      MutexLock lock(mutex_);
      sleepers_.fetch_add(1);
      while (!ready()) wake_.Wait(mutex_);
      sleepers_.fetch_sub(1);
    }
    if (stop_.load()) return;
    pin.Check();
    TakeTasks();
  }
}

}  // namespace tessera::worker
