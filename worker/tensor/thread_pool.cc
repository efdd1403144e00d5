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
  auto cpu_of = [&](int thread) { return cpus[thread % cpus.size()]; };
  for (int i = 1; i < threads; ++i) {
    const int cpu = cpus.empty() ? -1 : cpu_of(i);
    workers_.emplace_back([this, cpu] {
      if (cpu >= 0) PinThisThread(cpu);
      WorkerLoop();
    });
  }
  if (!cpus.empty()) PinThisThread(cpu_of(0));
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
  if (workers_.empty() || count <= 1) {
    for (int64_t task = 0; task < count; ++task) function(body, task);
    return;
  }
  body_ = body;
  function_ = function;
  count_ = count;
  next_task_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  round_.fetch_add(1);
  if (sleepers_.load() > 0) {
    MutexLock lock(mutex_);
    wake_.NotifyAll();
  }
  TakeTasks();
  AwaitWorkers();
}

// Workers always come to an end: they only compute. One whose core is taken may need a time slice,
// which the caller sleeps through.
void ThreadPool::AwaitWorkers() {
  auto all_done = [this] { return busy_.load(std::memory_order_acquire) == 0; };
  if (SpinThenYield(kYields, all_done)) return;
  caller_sleeps_.store(true);
  for (int busy; (busy = busy_.load()) != 0;) {
    syscall(SYS_futex, &busy_, FUTEX_WAIT_PRIVATE, busy, &kNap, nullptr, 0);
  }
  caller_sleeps_.store(false);
}

void ThreadPool::TakeTasks() {
  for (;;) {
    const int64_t task = next_task_.fetch_add(1, std::memory_order_relaxed);
    if (task >= count_) return;
    function_(body_, task);
  }
}

uint64_t ThreadPool::AwaitRound(uint64_t seen) {
  auto ready = [&] { return stop_.load() || round_.load() != seen; };
  if (!SpinThenYield(kYields, ready)) {
    MutexLock lock(mutex_);
    sleepers_.fetch_add(1);
    while (!ready()) wake_.Wait(mutex_);
    sleepers_.fetch_sub(1);
  }
  return stop_.load() ? 0 : round_.load();
}

void ThreadPool::WorkerLoop() {
  uint64_t seen = 1;
  while ((seen = AwaitRound(seen)) != 0) {
    TakeTasks();
    const bool last = busy_.fetch_sub(1) == 1;
    if (last && caller_sleeps_.load()) {
      syscall(SYS_futex, &busy_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
  }
}

}  // namespace tessera::worker
