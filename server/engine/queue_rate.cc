#include "server/engine/queue_rate.h"

namespace tessera::server {
namespace {

// Long enough for many steps, short enough to follow the load.
constexpr absl::Duration kWindow = absl::Seconds(2);

}  // namespace

void QueueRate::Left(uint64_t tokens, uint64_t left, absl::Time now) {
  if (since_ == absl::InfiniteFuture()) {
    // From here on the queue is watched; what has just left it came from before.
    if (left > 0) since_ = now;
    return;
  }
  counted_ += tokens;
  const absl::Duration time = now - since_;
  if (time >= kWindow) {
    const double rate = static_cast<double>(counted_) / absl::ToDoubleSeconds(time);
    tokens_per_second_ = tokens_per_second_ == 0 ? rate : (tokens_per_second_ + rate) / 2;
    since_ = now;
    counted_ = 0;
  }
  if (left == 0) Interrupt();
}

void QueueRate::Interrupt() {
  since_ = absl::InfiniteFuture();
  counted_ = 0;
}

absl::Duration QueueRate::Wait(uint64_t tokens) const {
  if (tokens_per_second_ == 0) return absl::ZeroDuration();
  return absl::Seconds(static_cast<double>(tokens) / tokens_per_second_);
}

}  // namespace tessera::server
