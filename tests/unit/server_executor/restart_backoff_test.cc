#include "server/executor/restart_backoff.h"

#include <catch2/catch.hpp>

namespace tessera::server {
namespace {

constexpr absl::Duration kBringUp = absl::Milliseconds(300);

TEST_CASE("a group that keeps dying is started again ever more slowly, up to half a minute") {
  RestartBackoff backoff;
  CHECK(backoff.Next(kBringUp, absl::Minutes(5), false) == absl::ZeroDuration());
  CHECK(backoff.Next(kBringUp, absl::Milliseconds(20), false) == absl::Milliseconds(100));
  CHECK(backoff.Next(kBringUp, absl::ZeroDuration(), false) == absl::Milliseconds(200));
  CHECK(backoff.Next(kBringUp, absl::ZeroDuration(), false) == absl::Milliseconds(400));
  for (int i = 0; i < 10; ++i) backoff.Next(kBringUp, absl::ZeroDuration(), false);
  CHECK(backoff.Next(kBringUp, absl::ZeroDuration(), false) == absl::Seconds(30));
}

TEST_CASE("a group that has worked for as long as it took to make starts at once again") {
  RestartBackoff backoff;
  for (int i = 0; i < 5; ++i) backoff.Next(kBringUp, absl::ZeroDuration(), false);
  CHECK(backoff.Next(kBringUp, kBringUp, false) == absl::ZeroDuration());
  for (int i = 0; i < 5; ++i) backoff.Next(absl::Seconds(40), absl::ZeroDuration(), false);
  CHECK(backoff.Next(absl::Seconds(40), absl::Seconds(1), false) == absl::ZeroDuration());
}

TEST_CASE("a group that has given a token starts at once again, however short it lived") {
  RestartBackoff backoff;
  for (int i = 0; i < 5; ++i) backoff.Next(kBringUp, absl::ZeroDuration(), false);
  CHECK(backoff.Next(kBringUp, absl::ZeroDuration(), true) == absl::ZeroDuration());
  CHECK(backoff.Next(kBringUp, absl::ZeroDuration(), false) == absl::Milliseconds(100));
}

}  // namespace
}  // namespace tessera::server
