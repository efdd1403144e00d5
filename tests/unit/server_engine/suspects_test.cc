#include "server/engine/suspects.h"

#include <catch2/catch.hpp>

#include <numeric>

namespace tessera::server {
namespace {

// Runs the requests 1..count of which `poison` kills the group whenever it is in a step, until no
// more is left to do. Returns the number of deaths; `given_up` is the request that was failed.
int Play(uint64_t count, uint64_t poison, std::optional<uint64_t>& given_up) {
  Suspects suspects;
  int deaths = 0;
  std::set<uint64_t> left;
  for (uint64_t request = 1; request <= count; ++request) left.insert(request);
  while (!left.empty()) {
    std::vector<uint64_t> step;
    for (uint64_t request : left) {
      if (!suspects.Held(request)) step.push_back(request);
    }
    REQUIRE_FALSE(step.empty());
    REQUIRE(deaths < 20);
    if (std::find(step.begin(), step.end(), poison) == step.end() || left.count(poison) == 0) {
      for (uint64_t request : step) {
        suspects.Gained(request);
        suspects.Ended(request);
        left.erase(request);
      }
      continue;
    }
    ++deaths;
    if (auto guilty = suspects.Died(step)) {
      CHECK_FALSE(given_up.has_value());
      given_up = guilty;
      left.erase(*guilty);
    }
  }
  CHECK_FALSE(suspects.trying());
  return deaths;
}

TEST_CASE("among any number of requests the poisonous one alone is given up") {
  for (uint64_t count : {1, 2, 3, 7, 32}) {
    for (uint64_t poison = 1; poison <= count; ++poison) {
      std::optional<uint64_t> given_up;
      int deaths = Play(count, poison, given_up);
      INFO(count << " requests, " << poison << " is poisonous, " << deaths << " deaths");
      CHECK(given_up == poison);
      CHECK(deaths >= 3);
      CHECK(deaths <= 8);
    }
  }
}

TEST_CASE("a token between two deaths clears a request") {
  Suspects suspects;
  for (int i = 0; i < 10; ++i) {
    CHECK(suspects.Died({1, 2}) == std::nullopt);
    CHECK_FALSE(suspects.trying());
    suspects.Gained(1);
    suspects.Gained(2);
  }
}

TEST_CASE("half of the suspects are on trial, everyone else waits, the cleared ones too") {
  Suspects suspects;
  suspects.Died({1, 2, 3, 4});
  suspects.Gained(4);
  suspects.Died({1, 2, 3, 4});
  CHECK_FALSE(suspects.Held(1));
  CHECK_FALSE(suspects.Held(2));
  CHECK(suspects.Held(3));
  CHECK(suspects.Held(4));
  CHECK(suspects.Held(5));  // one that came later
  CHECK_FALSE(suspects.Gained(1));
  CHECK(suspects.Held(1));
  CHECK(suspects.Gained(2));  // the other half is next
  CHECK_FALSE(suspects.Held(3));
  CHECK(suspects.Ended(3));  // its client has left
  CHECK_FALSE(suspects.trying());
  CHECK(suspects.deaths(4) == 1);
}

TEST_CASE("a death without a step under way is nobody's") {
  Suspects suspects;
  for (int i = 0; i < 5; ++i) CHECK(suspects.Died({}) == std::nullopt);
  CHECK_FALSE(suspects.trying());
}

}  // namespace
}  // namespace tessera::server
