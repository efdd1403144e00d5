#include "server/metrics/latency_histogram.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

TEST_CASE("an empty histogram is all zeros") {
  const auto summary = LatencyHistogram().Read();
  CHECK(summary.count == 0);
  CHECK(summary.p99_seconds == 0);
  CHECK(summary.max_seconds == 0);
}

TEST_CASE("quantiles are good to the width of a bucket") {
  LatencyHistogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.Add(absl::Milliseconds(i));
  const auto summary = histogram.Read();
  CHECK(summary.count == 1000);
  CHECK(summary.sum_seconds == Approx(500.5));
  CHECK(summary.p50_seconds == Approx(0.5).epsilon(0.07));
  CHECK(summary.p90_seconds == Approx(0.9).epsilon(0.07));
  CHECK(summary.p99_seconds == Approx(0.99).epsilon(0.07));
  CHECK(summary.max_seconds == Approx(1.0));
}

TEST_CASE("a value may count several times, and no time is too short or too long") {
  LatencyHistogram histogram;
  histogram.Add(absl::Microseconds(3), 98);
  histogram.Add(absl::Seconds(-1));
  histogram.Add(absl::Hours(1000));
  const auto summary = histogram.Read();
  CHECK(summary.count == 100);
  CHECK(summary.p50_seconds == Approx(3e-6));
  CHECK(summary.max_seconds == Approx(3.6e6));
}

}  // namespace
}  // namespace tessera::server
