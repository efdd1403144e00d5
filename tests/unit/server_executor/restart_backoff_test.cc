#include "server/executor/restart_backoff.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

TEST_CASE("the first restart comes at once, the next ever more slowly up to half a minute") {
  RestartBackoff backoff;
  CHECK(backoff.Next(absl::Minutes(5)) == absl::ZeroDuration());
  CHECK(backoff.Next(absl::Seconds(1)) == absl::Milliseconds(500));
  CHECK(backoff.Next(absl::ZeroDuration()) == absl::Seconds(1));
  CHECK(backoff.Next(absl::ZeroDuration()) == absl::Seconds(2));
  for (int i = 0; i < 10; ++i) backoff.Next(absl::ZeroDuration());
  CHECK(backoff.Next(absl::ZeroDuration()) == absl::Seconds(30));
}

TEST_CASE("a group that has served for a good while starts at once again") {
  RestartBackoff backoff;
  for (int i = 0; i < 5; ++i) backoff.Next(absl::ZeroDuration());
  CHECK(backoff.Next(absl::Seconds(31)) == absl::ZeroDuration());
}

}  // namespace
}  // namespace tessera::server
