#include "server/metrics/rate_meter.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

absl::Time At(int64_t second) { return absl::FromUnixSeconds(1000000 + second); }

TEST_CASE("a rate is that of the last ten whole seconds") {
  RateMeter meter;
  for (int second = 0; second < 10; ++second) meter.Add(At(second), 30);
  CHECK(meter.Read(At(10)) == 30);
  CHECK(meter.Read(At(15)) == 15);
  CHECK(meter.Read(At(20)) == 0);
}

TEST_CASE("the second under way does not count yet, and old ones are forgotten") {
  RateMeter meter;
  meter.Add(At(0), 100);
  CHECK(meter.Read(At(0)) == 0);
  // The same slot again, sixteen seconds later.
  meter.Add(At(16), 50);
  CHECK(meter.Read(At(17)) == 5);
}

}  // namespace
}  // namespace tessera::server
