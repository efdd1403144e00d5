#include "worker/tensor/convert.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace tessera::worker {
namespace {

using shard_loader::DType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_CASE("every number of 16 bits comes back from fp32 as it was") {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    if (!std::isnan(BF16ToFloat(half))) {
      REQUIRE(FloatToBF16(BF16ToFloat(half)) == half);
    } else {
      REQUIRE(std::isnan(BF16ToFloat(FloatToBF16(BF16ToFloat(half)))));
    }
    if (!std::isnan(F16ToFloat(half))) {
      REQUIRE(FloatToF16(F16ToFloat(half)) == half);
    } else {
      REQUIRE(std::isnan(F16ToFloat(FloatToF16(F16ToFloat(half)))));
    }
  }
}

TEST_CASE("widening gives the numbers of the formats' definitions") {
  CHECK(BF16ToFloat(0x3f80) == 1.0f);
  CHECK(BF16ToFloat(0xc049) == -3.140625f);
  CHECK(F16ToFloat(0x3c00) == 1.0f);
  CHECK(F16ToFloat(0x7bff) == 65504.0f);
  CHECK(F16ToFloat(0x0001) == 0x1p-24f);
  CHECK(F16ToFloat(0x8400) == -0x1p-14f);
  CHECK(F16ToFloat(0xfc00) == -kInfinity);
  CHECK(std::signbit(F16ToFloat(0x8000)));
}

TEST_CASE("narrowing goes to the nearest, ties to even") {
  CHECK(FloatToBF16(1.0f + 0x1p-8f) == 0x3f80);      // a tie: down to even
  CHECK(FloatToBF16(1.0f + 3 * 0x1p-8f) == 0x3f82);  // a tie: up to even
  CHECK(FloatToBF16(1.0f + 0x1p-8f + 0x1p-20f) == 0x3f81);
  CHECK(FloatToBF16(3.4e38f) == 0x7f80);  // to infinity
  CHECK(FloatToF16(1.0f + 0x1p-11f) == 0x3c00);
  CHECK(FloatToF16(1.0f + 3 * 0x1p-11f) == 0x3c02);
  CHECK(FloatToF16(65519.0f) == 0x7bff);
  CHECK(FloatToF16(65520.0f) == 0x7c00);
  CHECK(FloatToF16(-1e10f) == 0xfc00);
  CHECK(FloatToF16(0x1p-25f) == 0x0000);  // a tie between 0 and the least
  CHECK(FloatToF16(3 * 0x1p-25f) == 0x0002);
  CHECK(FloatToF16(0x1p-14f - 0x1p-25f) == 0x0400);  // rounds up out of the subnormals
  CHECK(FloatToF16(-0.0f) == 0x8000);
}

TEST_CASE("narrowing picks the nearer neighbour for numbers between any two of a format") {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = F16ToFloat(static_cast<uint16_t>(bits));
    const float high = F16ToFloat(static_cast<uint16_t>(bits + 1));
    REQUIRE(FloatToF16(low + 0.25f * (high - low)) == bits);
    REQUIRE(FloatToF16(low + 0.75f * (high - low)) == bits + 1);
    REQUIRE(FloatToF16(low + 0.5f * (high - low)) == bits + (bits & 1));
  }
}

TEST_CASE("arrays are read and written at any alignment") {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    std::vector<std::byte> bytes(1 + 4 * 4);
    const std::vector<float> values = {1.5f, -2.0f, 0.0f, 384.0f};
    NarrowElements(values.data(), 4, dtype, bytes.data() + 1);
    std::vector<float> back(4);
    WidenElements(bytes.data() + 1, dtype, 4, back.data());
    CHECK(back == values);
    StoreElement(7.0f, bytes.data() + 1, 2, dtype);
    CHECK(LoadElement(bytes.data() + 1, 2, dtype) == 7.0f);
    CHECK(LoadElement(bytes.data() + 1, 3, dtype) == 384.0f);
  }
}

}  // namespace
}  // namespace tessera::worker
