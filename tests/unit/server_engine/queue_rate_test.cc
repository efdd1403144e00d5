#include "server/engine/queue_rate.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

TEST_CASE("a queue that has not moved for long enough says nothing") {
  QueueRate rate;
  CHECK(rate.Wait(1000) == absl::ZeroDuration());
  rate.Left(100, 500, At(0));
  rate.Left(100, 400, At(1));
  CHECK(rate.Wait(1000) == absl::ZeroDuration());
}

TEST_CASE("the wait is that of the rate of late") {
  QueueRate rate;
  rate.Left(100, 900, At(0));
  rate.Left(100, 800, At(1));
  rate.Left(300, 500, At(2));
  CHECK(rate.Wait(1000) == absl::Seconds(5));  // 400 tokens in two seconds
  rate.Left(1200, 100, At(4));
  CHECK(rate.Wait(1000) == absl::Seconds(2.5));  // half of what was known, half of what is new
}

TEST_CASE("times in which the queue was empty, or nothing could leave, do not count") {
  QueueRate rate;
  rate.Left(100, 900, At(0));
  rate.Left(400, 500, At(2));
  rate.Left(500, 0, At(3));
  rate.Left(100, 900, At(100));
  rate.Left(400, 500, At(102));
  CHECK(rate.Wait(1000) == absl::Seconds(5));
  rate.Interrupt();
  rate.Left(100, 400, At(500));
  rate.Left(400, 100, At(502));
  CHECK(rate.Wait(1000) == absl::Seconds(5));
}

}  // namespace
}  // namespace tessera::server
