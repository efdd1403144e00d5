// Threads that share out the outputs of a kernel. They never share a sum, so that their number
// cannot change a bit.
#ifndef TESSERA_WORKER_TENSOR_THREAD_POOL_H_
#define TESSERA_WORKER_TENSOR_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "shard_loader/mutex.h"

namespace tessera::worker {

// Runs from one thread at a time; its other threads wait for work by spinning briefly, then
// yielding, then sleeping, because ranks may share a core; so does the caller while the last tasks
// end.
class ThreadPool {
 public:
  // `threads` counts the caller; 1 starts none. Where there are `cpus`, every thread stays on one
  // of them, in turn, the caller on the first; else the system places them.
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
  void WorkerLoop();
  // The next round after `seen`, or 0 at the end of the pool.
  uint64_t AwaitRound(uint64_t seen);
  void TakeTasks();
  void AwaitWorkers();

  std::vector<std::thread> workers_;

  // Written by the caller before round_ goes up, read by the workers after it did.
  const void* body_ = nullptr;
  TaskFunction function_ = nullptr;
  int64_t count_ = 0;

  std::atomic<int64_t> next_task_{0};
  std::atomic<uint64_t> round_{1};
  std::atomic<int> busy_{0};  // workers that have not finished the round
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  std::atomic<int> sleepers_{0};
  Mutex mutex_;  // guards nothing but the sleep itself
  CondVar wake_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_THREAD_POOL_H_
