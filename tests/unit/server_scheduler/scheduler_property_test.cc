#include <catch2/catch.hpp>

#include "tests/unit/server_scheduler/scenario.h"

namespace tessera::server {
namespace {

TEST_CASE("random scenarios keep blocks, budget and contents, and all sequences end") {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    Scenario(seed).Run();
  }
}

}  // namespace
}  // namespace tessera::server
