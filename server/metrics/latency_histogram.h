// How long things took, counted in buckets: cheap to add to, and good to about 6 %.
#ifndef TESSERA_SERVER_METRICS_LATENCY_HISTOGRAM_H_
#define TESSERA_SERVER_METRICS_LATENCY_HISTOGRAM_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace tessera::server {

// Thread-safe; a reader may miss what is added meanwhile.
class LatencyHistogram {
 public:
  struct Summary {
    uint64_t count = 0;
    double sum_seconds = 0;
    double p50_seconds = 0;
    double p90_seconds = 0;
    double p99_seconds = 0;
    double max_seconds = 0;
  };

  // Negative times count as 0.
  void Add(absl::Duration time, uint64_t count = 1);
  // Since the start. A quantile is the middle of its bucket, but at most the maximum.
  Summary Read() const { return Read({this}); }
  // Of several, as if all had been added to one.
  static Summary Read(const std::vector<const LatencyHistogram*>& parts);

 private:
  // Of microseconds: 0 to 7 each, then 8 buckets for every doubling.
  static constexpr size_t kPerOctave = 8;
  static constexpr size_t kOctaves = 32;
  static constexpr size_t kBuckets = kPerOctave * (kOctaves + 1);
  static size_t BucketOf(uint64_t us);
  static double MiddleOf(size_t bucket);  // in seconds

  std::array<std::atomic<uint64_t>, kBuckets> counts_{};
  std::atomic<uint64_t> sum_us_{0};
  std::atomic<uint64_t> max_us_{0};
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_METRICS_LATENCY_HISTOGRAM_H_
