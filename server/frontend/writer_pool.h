// Threads that write answers to their clients, so that the engine's thread does not.
#ifndef TESSERA_SERVER_FRONTEND_WRITER_POOL_H_
#define TESSERA_SERVER_FRONTEND_WRITER_POOL_H_

#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

class AnswerStream;

// Thread-safe.
class WriterPool {
 public:
  explicit WriterPool(int num_threads);
  // Streams that are added until now are still written.
  ~WriterPool();
  WriterPool(const WriterPool&) = delete;
  WriterPool& operator=(const WriterPool&) = delete;

  // One of the threads calls WriteNext of `stream` (shared with its call). Never blocks for long.
  void Add(std::shared_ptr<AnswerStream> stream);

 private:
  void Run();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::shared_ptr<AnswerStream>> streams_ ABSL_GUARDED_BY(mutex_);
  int sleeping_ ABSL_GUARDED_BY(mutex_) = 0;  // at least the threads that sleep and that
                                              // no notification is on the way to
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_WRITER_POOL_H_
