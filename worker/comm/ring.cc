#include "worker/comm/ring.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace tessera::worker {
namespace {

absl::Status Corrupt(uint64_t used, size_t capacity) {
  return absl::InternalError(absl::StrCat("comm: a ring of ", capacity, " bytes claims to hold ",
                                          used, ": its memory was overwritten"));
}

}  // namespace

absl::StatusOr<size_t> Ring::Write(absl::Span<const std::byte> bytes) {
  size_t taken = 0;
  for (bool asked = false;;) {
    const uint64_t used = position_ - control_->read.load(std::memory_order_seq_cst);
    if (used > capacity_) return Corrupt(used, capacity_);
    const size_t n = std::min<size_t>(bytes.size() - taken, capacity_ - used);
    if (n > 0) {
      const size_t at = position_ & (capacity_ - 1);
      const size_t first = std::min(n, capacity_ - at);
      std::memcpy(data_ + at, bytes.data() + taken, first);
      std::memcpy(data_, bytes.data() + taken + first, n - first);
      position_ += n;
      taken += n;
      control_->written.store(position_, std::memory_order_release);
    }
    if (taken == bytes.size() || asked) return taken;
    // The reader clears this after it has read; looking once more afterwards misses no room.
    control_->writer_waits.store(1, std::memory_order_seq_cst);
    asked = true;
  }
}

absl::StatusOr<size_t> Ring::Read(absl::Span<std::byte> bytes, bool& writer_waits) {
  const uint64_t used = control_->written.load(std::memory_order_acquire) - position_;
  if (used > capacity_) return Corrupt(used, capacity_);
  const size_t n = std::min<size_t>(bytes.size(), used);
  if (n == 0) return n;
  const size_t at = position_ & (capacity_ - 1);
  const size_t first = std::min(n, capacity_ - at);
  std::memcpy(bytes.data(), data_ + at, first);
  std::memcpy(bytes.data() + first, data_, n - first);
  position_ += n;
  control_->read.store(position_, std::memory_order_seq_cst);
  // Not before half is free: a waiting writer is woken for more than a few bytes.
  writer_waits = used - n <= capacity_ / 2 &&
                 control_->writer_waits.load(std::memory_order_seq_cst) != 0 &&
                 control_->writer_waits.exchange(0, std::memory_order_seq_cst) != 0;
  return n;
}

}  // namespace tessera::worker
