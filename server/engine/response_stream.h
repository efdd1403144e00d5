// The way of one answer from the engine to its reader: a buffer with a bound.
#ifndef TESSERA_SERVER_ENGINE_RESPONSE_STREAM_H_
#define TESSERA_SERVER_ENGINE_RESPONSE_STREAM_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "server/engine/request.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// Thread-safe. The engine pushes and never blocks; the reader takes. Deltas that wait are merged.
// The bound is the engine's to keep: where `full`, it stops generating until `drained` is called.
class ResponseStream {
 public:
  explicit ResponseStream(size_t max_bytes) : max_bytes_(max_bytes) {}

  // Reader: `available` is called after an event has come, from the engine's thread; it must not
  // block. Set before the request is submitted.
  void SetAvailable(std::function<void()> available);
  // The next event, or nothing yet. Nothing follows an absl::Status.
  std::optional<ResponseEvent> Take();
  // The engine has given the reader up (End with discard): do not wait for it any longer.
  bool discarded() const;

  // Engine: `drained` is called from the reader's thread when a full buffer is down to a half.
  void SetDrained(std::function<void()> drained);
  void Push(ResponseEvent event);
  // The last event. `discard`: what the reader has not taken is dropped.
  void End(absl::Status status, bool discard = false);
  bool full() const;

 private:
  static size_t Bytes(const ResponseEvent& event);
  void Append(ResponseEvent event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t max_bytes_;
  mutable Mutex mutex_;
  std::deque<ResponseEvent> events_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool was_full_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool discarded_ ABSL_GUARDED_BY(mutex_) = false;
  // Shared with a call under way: copying the function itself would allocate for every event.
  std::shared_ptr<const std::function<void()>> available_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> drained_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_RESPONSE_STREAM_H_
