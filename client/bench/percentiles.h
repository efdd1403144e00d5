// What many measured times look like.
#ifndef TESSERA_CLIENT_BENCH_PERCENTILES_H_
#define TESSERA_CLIENT_BENCH_PERCENTILES_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace tessera::client {

// Seconds; all 0 where there is no value.
struct Percentiles {
  uint64_t count = 0;
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;
};

// Exact: the value at rank ceil(fraction * count), counted from 1 (nearest rank).
double PercentileOf(absl::Span<const double> ascending, double fraction);
Percentiles PercentilesOf(std::vector<double> values);

// For values too many to keep: buckets of 1/64 of their size. Add is thread-safe; Read, while
// others add, may miss the latest.
class TimeHistogram {
 public:
  void Add(double seconds, uint64_t count = 1);
  // Each percentile is the middle of its bucket, at most 1 % off; `max` is exact.
  Percentiles Read() const;

 private:
  // Buckets 0 to 63 are of 1 us; then 64 for each doubling.
  static constexpr size_t kPerOctave = 64;
  static constexpr size_t kOctaves = 26;  // up to 2^32 us, more than an hour
  static size_t BucketOf(uint64_t us);
  static double MiddleOf(size_t bucket);

  std::array<std::atomic<uint64_t>, (kOctaves + 1) * kPerOctave> counts_{};
  std::atomic<uint64_t> sum_us_{0};
  std::atomic<uint64_t> max_us_{0};
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_BENCH_PERCENTILES_H_
