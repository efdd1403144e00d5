#include "client/bench/rate_search.h"

#include <catch2/catch.hpp>
#include <vector>

namespace tessera::client {
namespace {

// The rates that a server with this capacity is tried with.
std::vector<double> Tries(RateSearch& search, double capacity) {
  std::vector<double> tries;
  while (auto rate = search.Next()) {
    tries.push_back(*rate);
    search.Tell(*rate <= capacity);
  }
  return tries;
}

TEST_CASE("the rate is doubled until it is too high, then bisected") {
  RateSearch search(2, 0.1, 20);
  CHECK(Tries(search, 11.3) == std::vector<double>{2, 4, 8, 16, 12, 10, 11});
  CHECK(search.best() == 11);
}

TEST_CASE("a first rate that is too high is halved") {
  RateSearch search(64, 0.1, 20);
  CHECK(Tries(search, 9) == std::vector<double>{64, 32, 16, 8, 12, 10, 9, 9.5});
  CHECK(search.best() == 9);
}

TEST_CASE("the number of tries is bounded") {
  RateSearch never(8, 0.1, 3);
  CHECK(Tries(never, 0).size() == 3);
  CHECK(never.best() == 0);
  RateSearch always(8, 0.1, 3);
  CHECK(Tries(always, 1e9) == std::vector<double>{8, 16, 32});
  CHECK(always.best() == 32);
}

}  // namespace
}  // namespace tessera::client
