#include "server/metrics/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tessera::server {

size_t LatencyHistogram::BucketOf(uint64_t us) {
  if (us < kPerOctave) return us;
  const size_t shift = static_cast<size_t>(std::bit_width(us)) - std::bit_width(kPerOctave);
  return std::min(kPerOctave * shift + (us >> shift), kBuckets - 1);
}

double LatencyHistogram::MiddleOf(size_t bucket) {
  if (bucket < kPerOctave) return static_cast<double>(bucket) * 1e-6;
  const size_t shift = bucket / kPerOctave - 1;
  const double width = std::ldexp(1.0, static_cast<int>(shift));
  return (static_cast<double>(kPerOctave + bucket % kPerOctave) + 0.5) * width * 1e-6;
}

void LatencyHistogram::Add(absl::Duration time, uint64_t count) {
  const auto us = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Microseconds(time)));
  counts_[BucketOf(us)].fetch_add(count, std::memory_order_relaxed);
  sum_us_.fetch_add(us * count, std::memory_order_relaxed);
  uint64_t most = max_us_.load(std::memory_order_relaxed);
  while (us > most && !max_us_.compare_exchange_weak(most, us, std::memory_order_relaxed)) {
  }
}

LatencyHistogram::Summary LatencyHistogram::Read(
    const std::vector<const LatencyHistogram*>& parts) {
  Summary out;
  std::array<uint64_t, kBuckets> counts{};
  uint64_t sum_us = 0, max_us = 0;
  for (const LatencyHistogram* part : parts) {
    for (size_t i = 0; i < kBuckets; ++i) {
      const uint64_t count = part->counts_[i].load(std::memory_order_relaxed);
      counts[i] += count;
      out.count += count;
    }
    sum_us += part->sum_us_.load(std::memory_order_relaxed);
    max_us = std::max(max_us, part->max_us_.load(std::memory_order_relaxed));
  }
  if (out.count == 0) return out;
  out.sum_seconds = static_cast<double>(sum_us) * 1e-6;
  out.max_seconds = static_cast<double>(max_us) * 1e-6;
  auto quantile = [&](double fraction) {
    const auto rank = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(out.count)));
    size_t bucket = 0;
    for (uint64_t seen = counts[0]; seen < rank; seen += counts[bucket]) ++bucket;
    return std::min(MiddleOf(bucket), out.max_seconds);
  };
  out.p50_seconds = quantile(0.5);
  out.p90_seconds = quantile(0.9);
  out.p99_seconds = quantile(0.99);
  return out;
}

}  // namespace tessera::server
