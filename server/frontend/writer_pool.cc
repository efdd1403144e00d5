#include "server/frontend/writer_pool.h"

#include <utility>

#include "server/frontend/answer_stream.h"

namespace tessera::server {

WriterPool::WriterPool(int num_threads) {
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
}

WriterPool::~WriterPool() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void WriterPool::Add(std::shared_ptr<AnswerStream> stream) {
  MutexLock lock(mutex_);
  streams_.push_back(std::move(stream));
  // A step wakes many streams: a thread that is awake takes them one after another.
  if (sleeping_ == 0) return;
  --sleeping_;
  changed_.NotifyOne();
}

void WriterPool::Run() {
  while (true) {
    std::shared_ptr<AnswerStream> stream;
    {
      MutexLock lock(mutex_);
      while (streams_.empty() && !stop_) {
        ++sleeping_;
        changed_.Wait(mutex_);
      }
      if (streams_.empty()) return;
      stream = std::move(streams_.front());
      streams_.pop_front();
    }
    stream->WriteNext();
  }
}

}  // namespace tessera::server
