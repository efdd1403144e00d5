#include "worker/comm/pair_test.h"

#include <catch2/catch.hpp>

namespace tessera::worker {
namespace {

TEST_CASE("pairs that are alike are not called slow") {
  const std::vector<PairTiming> timings = {{0, 1, 5, 9000}, {0, 2, 6, 8000}, {1, 2, 9, 5000}};
  CHECK(SlowPairs(timings, 4).empty());
  CHECK(SlowPairs({}, 4).empty());
}

TEST_CASE("a pair far behind the median is named with its numbers") {
  const std::vector<PairTiming> timings = {{0, 1, 5, 9000}, {0, 2, 60, 800}, {1, 2, 6, 8000}};
  const std::vector<std::string> slow = SlowPairs(timings, 4);
  REQUIRE(slow.size() == 2);
  CHECK(slow[0] == "ranks 0 and 2: latency 60.0 us, the median pair has 6.0 us");
  CHECK(slow[1] == "ranks 0 and 2: bandwidth 800 MB/s, the median pair has 8000 MB/s");
}

}  // namespace
}  // namespace tessera::worker
