// How many of something came a second, lately.
#ifndef TESSERA_SERVER_METRICS_RATE_METER_H_
#define TESSERA_SERVER_METRICS_RATE_METER_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace tessera::server {

// Over the last ten whole seconds. Add belongs to one thread; Read may come from any, and may be
// off by what is added meanwhile.
class RateMeter {
 public:
  void Add(absl::Time now, uint64_t count) {
    const int64_t second = absl::ToUnixSeconds(now);
    Slot& slot = slots_[static_cast<uint64_t>(second) % kSlots];
    if (slot.second.load(std::memory_order_relaxed) != second) {
      slot.count.store(0, std::memory_order_relaxed);
      slot.second.store(second, std::memory_order_relaxed);
    }
    slot.count.fetch_add(count, std::memory_order_relaxed);
  }

  double Read(absl::Time now) const {
    const int64_t second = absl::ToUnixSeconds(now);
    uint64_t sum = 0;
    for (const Slot& slot : slots_) {
      const int64_t age = second - slot.second.load(std::memory_order_relaxed);
      if (age >= 1 && age <= kSeconds) sum += slot.count.load(std::memory_order_relaxed);
    }
    return static_cast<double>(sum) / kSeconds;
  }

 private:
  static constexpr int64_t kSeconds = 10;
  static constexpr uint64_t kSlots = 16;
  struct Slot {
    std::atomic<int64_t> second{-1};
    std::atomic<uint64_t> count{0};
  };
  std::array<Slot, kSlots> slots_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_METRICS_RATE_METER_H_
