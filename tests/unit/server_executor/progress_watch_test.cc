#include "server/executor/progress_watch.h"

#include <catch2/catch.hpp>

#include <string>

namespace tessera::server {
namespace {

const absl::Time kStart = absl::UnixEpoch();
constexpr ProgressWatch::Limits kLimits{.silence = absl::Seconds(5), .stall = absl::Seconds(5)};

absl::Time At(double seconds) { return kStart + absl::Seconds(seconds); }

// Both ranks send heartbeats every second up to `until`, with these progress counters.
absl::Status Run(ProgressWatch& watch, int until, uint64_t first, uint64_t second, bool idle) {
  absl::Status status;
  for (int second_now = 1; second_now <= until && status.ok(); ++second_now) {
    watch.Heard(0, At(second_now));
    watch.Heard(1, At(second_now));
    watch.Progress(0, first, At(second_now));
    watch.Progress(1, second, At(second_now));
    status = watch.Check(At(second_now), idle);
  }
  return status;
}

TEST_CASE("an idle group lives as long as its ranks are heard") {
  ProgressWatch watch(2, kLimits, kStart);
  CHECK(Run(watch, 100, 7, 7, /*idle=*/true).ok());
}

TEST_CASE("a group that works without progress is lost, and the rank behind is named") {
  ProgressWatch watch(2, kLimits, kStart);
  absl::Status status = Run(watch, 100, 9, 8, /*idle=*/false);
  CHECK(absl::IsUnavailable(status));
  CHECK(std::string(status.message()).find("rank 1 has done the least") != std::string::npos);
}

TEST_CASE("one rank's progress keeps the group alive") {
  ProgressWatch watch(2, kLimits, kStart);
  for (int now = 1; now < 60; ++now) {
    watch.Heard(0, At(now));
    watch.Heard(1, At(now));
    watch.Progress(0, now, At(now));
    CHECK(watch.Check(At(now), /*idle=*/false).ok());
  }
}

TEST_CASE("a rank that sends nothing is named") {
  ProgressWatch watch(2, kLimits, kStart);
  absl::Status status;
  int now = 0;
  while (status.ok() && ++now < 60) {
    watch.Heard(0, At(now));
    status = watch.Check(At(now), /*idle=*/true);
  }
  CHECK(now == 6);
  CHECK(std::string(status.message()).find("rank 1 has sent nothing for 5s") == 0);
}

TEST_CASE("after a gap in which nobody listened the ranks get their time again") {
  ProgressWatch watch(1, kLimits, kStart);
  watch.Heard(0, At(1));
  CHECK(watch.Check(At(1), false).ok());
  CHECK(watch.Check(At(100), false).ok());
  CHECK(watch.Check(At(102), false).ok());
  CHECK(watch.Check(At(104), false).ok());
  CHECK_FALSE(watch.Check(At(106), false).ok());
}

}  // namespace
}  // namespace tessera::server
