#include "worker/sampling/philox.h"

#include <catch2/catch.hpp>

namespace tessera::worker {
namespace {

using Words = std::array<uint32_t, 4>;

TEST_CASE("Philox gives the known answers of Random123") {
  CHECK(Philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a uniform is a function of seed, sequence and position, each of which matters") {
  const double uniform = PhiloxUniform(1, 2, 3);
  CHECK(uniform == PhiloxUniform(1, 2, 3));
  CHECK(uniform != PhiloxUniform(2, 2, 3));
  CHECK(uniform != PhiloxUniform(1, 3, 3));
  CHECK(uniform != PhiloxUniform(1, 2, 4));
  CHECK(PhiloxUniform(uint64_t{1} << 40, 0, 0) != PhiloxUniform(0, 0, 0));
  CHECK(PhiloxUniform(0, 0, 0) == 0xcc4fd1abc2d38p-53);
}

TEST_CASE("uniforms are in [0, 1) with the mean and spread of a uniform") {
  double sum = 0, squares = 0;
  for (uint64_t position = 0; position < 20000; ++position) {
    const double uniform = PhiloxUniform(42, 0, position);
    REQUIRE(uniform >= 0);
    REQUIRE(uniform < 1);
    sum += uniform;
    squares += uniform * uniform;
  }
  CHECK(sum / 20000 == Approx(0.5).margin(0.01));
  CHECK(squares / 20000 == Approx(1.0 / 3).margin(0.01));
}

}  // namespace
}  // namespace tessera::worker
