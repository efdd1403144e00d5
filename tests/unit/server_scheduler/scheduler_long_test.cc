#include <catch2/catch.hpp>

#include "tests/unit/server_scheduler/scenario.h"

namespace tessera::server {
namespace {

TEST_CASE("ten thousand random scenarios keep blocks, budget and contents") {
  for (uint32_t seed = 1001; seed <= 11000; ++seed) {
    INFO("seed " << seed);
    Scenario(seed).Run();
  }
}

}  // namespace
}  // namespace tessera::server
