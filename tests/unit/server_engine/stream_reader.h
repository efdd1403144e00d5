// The client's side of an answer.
#ifndef TESSERA_TESTS_UNIT_SERVER_ENGINE_STREAM_READER_H_
#define TESSERA_TESTS_UNIT_SERVER_ENGINE_STREAM_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/engine/response_stream.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// Reads an answer on the thread that asks.
class StreamReader {
 public:
  StreamReader() {
    // The engine may still tell of an event that this thread has taken already.
    stream_->SetAvailable([told = told_] {
      MutexLock lock(told->mutex);
      ++told->available;
      told->changed.NotifyAll();
    });
  }
  const std::shared_ptr<ResponseStream>& stream() const { return stream_; }
  const std::vector<uint32_t>& ids() const { return ids_; }

  // What is there; false where nothing is.
  bool ReadNow() {
    bool any = false;
    while (auto event = stream_->Take()) {
      any = true;
      if (auto* status = std::get_if<absl::Status>(&*event)) status_ = *status;
      if (auto* delta = std::get_if<DeltaEvent>(&*event)) {
        for (const Token& token : delta->tokens) ids_.push_back(token.id);
      }
    }
    return any;
  }
  // To the end.
  absl::Status ReadAll() {
    while (!status_) {
      int seen;
      {
        MutexLock lock(told_->mutex);
        seen = told_->available;
      }
      if (ReadNow()) continue;
      MutexLock lock(told_->mutex);
      while (told_->available == seen) told_->changed.Wait(told_->mutex);
    }
    return *status_;
  }

 private:
  // Shared with the engine.
  const std::shared_ptr<ResponseStream> stream_ = std::make_shared<ResponseStream>(1 << 20);
  struct Told {
    Mutex mutex;
    CondVar changed;
    int available ABSL_GUARDED_BY(mutex) = 0;
  };
  const std::shared_ptr<Told> told_ = std::make_shared<Told>();  // likewise
  std::vector<uint32_t> ids_;
  std::optional<absl::Status> status_;
};

}  // namespace tessera::server

#endif  // TESSERA_TESTS_UNIT_SERVER_ENGINE_STREAM_READER_H_
