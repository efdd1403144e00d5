// How fast a queue moves, and so how long one more must wait in it.
#ifndef TESSERA_SERVER_ENGINE_QUEUE_RATE_H_
#define TESSERA_SERVER_ENGINE_QUEUE_RATE_H_

#include <cstdint>

#include "absl/time/time.h"

namespace tessera::server {

// Counts what leaves the queue while something is left in it: an empty queue says nothing of how
// fast it could be. Thread-compatible; time is passed in.
class QueueRate {
 public:
  // `tokens` have left; `left` are still there.
  void Left(uint64_t tokens, uint64_t left, absl::Time now);
  // Nothing leaves for a while, for reasons that say nothing of the rate.
  void Interrupt();
  // The time that `tokens` need to leave, at the rate of late; zero while none is known.
  absl::Duration Wait(uint64_t tokens) const;

 private:
  double tokens_per_second_ = 0;  // 0: not known
  absl::Time since_ = absl::InfiniteFuture();
  uint64_t counted_ = 0;  // since then
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_QUEUE_RATE_H_
