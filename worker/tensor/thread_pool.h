// Threads that share out the outputs of a kernel. They never share a sum, so that their number
// cannot change a bit.
#ifndef TESSERA_WORKER_TENSOR_THREAD_POOL_H_
#define TESSERA_WORKER_TENSOR_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "shard_loader/mutex.h"
#include "worker/tensor/cpus.h"

namespace tessera::worker {

// Runs from one thread at a time; its other threads wait for work by spinning briefly, then
// yielding, then sleeping, because ranks may share a core; so does the caller while the last tasks
// end. At most 2^32 - 1 tasks at a time.
class ThreadPool {
 public:
  // `threads` counts the caller; 1 starts none. Where there are `cpus`, every thread stays on one
  // of them, in turn, the caller on the first; else the system places them. One that has a CPU for
  // itself leaves it while somebody else computes there (CpuPin).
  explicit ThreadPool(int threads, const std::vector<int>& cpus = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // body(task) for every task in [0, count), in any order and on any thread; returns when all are
  // done. Tasks must be independent and must not call ParallelFor.
  template <typename Body>
  void ParallelFor(int64_t count, const Body& body) {
    RunTasks(count, &body,
             [](const void* body, int64_t task) { (*static_cast<const Body*>(body))(task); });
  }

 private:
  using TaskFunction = void (*)(const void* body, int64_t task);

  void RunTasks(int64_t count, const void* body, TaskFunction function);
  void WorkerLoop(CpuPin& pin);
  // Runs tasks until none is left that nobody has taken.
  void TakeTasks();
  // Until those that others have taken are done. Whoever has taken none is not waited for: the
  // system may have given its core to somebody else.
  void AwaitTasks();

  std::vector<std::thread> workers_;
  std::optional<CpuPin> caller_pin_;  // made last

  // Of the round: written by the caller before its tickets are there. Whoever holds a ticket may
  // read them: no round ends before its last task.
  const void* body_ = nullptr;
  TaskFunction function_ = nullptr;
  int64_t count_ = 0;

  uint32_t round_ = 0;                // the caller's
  std::atomic<uint64_t> tickets_{0};  // the round, above the number of tasks that nobody has taken
  std::atomic<uint32_t> done_{0};     // tasks of the round; a futex
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  std::atomic<int> sleepers_{0};
  Mutex mutex_;  // guards nothing but the sleep itself
  CondVar wake_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_THREAD_POOL_H_
