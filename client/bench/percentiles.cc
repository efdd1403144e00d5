#include "client/bench/percentiles.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace tessera::client {

double PercentileOf(absl::Span<const double> ascending, double fraction) {
  if (ascending.empty()) return 0;
  const double rank = std::ceil(fraction * static_cast<double>(ascending.size()));
  const auto index = static_cast<size_t>(std::max(1.0, rank)) - 1;
  return ascending[std::min(index, ascending.size() - 1)];
}

Percentiles PercentilesOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {.count = values.size(),
          .mean = sum / static_cast<double>(values.size()),
          .p50 = PercentileOf(values, 0.5),
          .p90 = PercentileOf(values, 0.9),
          .p95 = PercentileOf(values, 0.95),
          .p99 = PercentileOf(values, 0.99),
          .max = values.back()};
}

size_t TimeHistogram::BucketOf(uint64_t us) {
  if (us < kPerOctave) return us;
  const size_t shift = static_cast<size_t>(std::bit_width(us)) - std::bit_width(kPerOctave);
  const size_t bucket = kPerOctave * (shift + 1) + ((us >> shift) - kPerOctave);
  return std::min(bucket, (kOctaves + 1) * kPerOctave - 1);
}

double TimeHistogram::MiddleOf(size_t bucket) {
  if (bucket < kPerOctave) return static_cast<double>(bucket) * 1e-6;
  const size_t shift = bucket / kPerOctave - 1;
  const double low =
      std::ldexp(static_cast<double>(kPerOctave + bucket % kPerOctave), static_cast<int>(shift));
  return (low + std::ldexp(1.0, static_cast<int>(shift)) / 2) * 1e-6;
}

void TimeHistogram::Add(double seconds, uint64_t count) {
  const auto us = static_cast<uint64_t>(std::max(0.0, std::round(seconds * 1e6)));
  counts_[BucketOf(us)].fetch_add(count, std::memory_order_relaxed);
  sum_us_.fetch_add(us * count, std::memory_order_relaxed);
  uint64_t most = max_us_.load(std::memory_order_relaxed);
  while (us > most && !max_us_.compare_exchange_weak(most, us, std::memory_order_relaxed)) {
  }
}

Percentiles TimeHistogram::Read() const {
  Percentiles out;
  std::array<uint64_t, (kOctaves + 1) * kPerOctave> counts;
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = counts_[i].load(std::memory_order_relaxed);
    out.count += counts[i];
  }
  if (out.count == 0) return out;
  out.max = static_cast<double>(max_us_.load(std::memory_order_relaxed)) * 1e-6;
  out.mean = static_cast<double>(sum_us_.load(std::memory_order_relaxed)) * 1e-6 /
             static_cast<double>(out.count);
  auto at = [&](double fraction) {
    auto rank = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(out.count)));
    size_t bucket = 0;
    for (uint64_t seen = counts[0]; seen < rank; seen += counts[bucket]) ++bucket;
    return std::min(MiddleOf(bucket), out.max);
  };
  out.p50 = at(0.5);
  out.p90 = at(0.9);
  out.p95 = at(0.95);
  out.p99 = at(0.99);
  return out;
}

}  // namespace tessera::client
