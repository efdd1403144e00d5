#include "client/bench/percentiles.h"

#include <catch2/catch.hpp>
#include <vector>

namespace tessera::client {
namespace {

TEST_CASE("a percentile is the value at its nearest rank") {
  const std::vector<double> ten = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  CHECK(PercentileOf(ten, 0.5) == 5);
  CHECK(PercentileOf(ten, 0.51) == 6);
  CHECK(PercentileOf(ten, 0.9) == 9);
  CHECK(PercentileOf(ten, 0.99) == 10);
  CHECK(PercentileOf(ten, 0) == 1);
  CHECK(PercentileOf(ten, 1) == 10);
  CHECK(PercentileOf({}, 0.5) == 0);
}

TEST_CASE("percentiles do not depend on the order") {
  const Percentiles times = PercentilesOf({3, 1, 2});
  CHECK(times.count == 3);
  CHECK(times.mean == 2);
  CHECK(times.p50 == 2);
  CHECK(times.p99 == 3);
  CHECK(times.max == 3);
  CHECK(PercentilesOf({}).count == 0);
}

TEST_CASE("a histogram is at most one percent off") {
  TimeHistogram histogram;
  std::vector<double> values;
  for (int i = 1; i <= 1000; ++i) {
    values.push_back(1e-5 * i * i);
    histogram.Add(values.back());
  }
  const Percentiles exact = PercentilesOf(values);
  const Percentiles read = histogram.Read();
  CHECK(read.count == 1000);
  CHECK(read.mean == Approx(exact.mean).epsilon(0.001));
  CHECK(read.p50 == Approx(exact.p50).epsilon(0.01));
  CHECK(read.p90 == Approx(exact.p90).epsilon(0.01));
  CHECK(read.p99 == Approx(exact.p99).epsilon(0.01));
  CHECK(read.max == Approx(10.0));
}

TEST_CASE("a histogram counts a value several times, and takes what is out of range") {
  TimeHistogram histogram;
  histogram.Add(0.002, 99);
  histogram.Add(-1);
  CHECK(histogram.Read().count == 100);
  CHECK(histogram.Read().p50 == Approx(0.002).epsilon(0.01));
  histogram.Add(1e6);
  CHECK(histogram.Read().max == Approx(1e6));
  CHECK(TimeHistogram().Read().count == 0);
}

}  // namespace
}  // namespace tessera::client
