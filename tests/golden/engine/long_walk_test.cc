#include <catch2/catch.hpp>
#include <iostream>
#include <random>

#include "tests/golden/engine/walk.h"

namespace tessera::tests {
namespace {

TEST_CASE("a long random walk over all axes finds one answer") {
  const uint64_t seed = std::random_device()();
  std::cout << "the walk's seed is " << seed << std::endl;
  Walk(seed, 200);
}

}  // namespace
}  // namespace tessera::tests
