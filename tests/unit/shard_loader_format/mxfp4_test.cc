#include "shard_loader/format/mxfp4.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <vector>

namespace tessera::shard_loader {
namespace {

TEST_CASE("a block's numbers come lower half first, times two to its scale") {
  std::vector<std::byte> blocks(32);
  for (size_t i = 0; i < 16; ++i) {
    blocks[i] = static_cast<std::byte>(i | (15 - i) << 4);
    blocks[16 + i] = static_cast<std::byte>(0x71);
  }
  const std::vector<std::byte> scales = {std::byte{128}, std::byte{124}};
  std::vector<float> values(64);
  DecodeMxfp4(blocks, scales, absl::MakeSpan(values));
  const float numbers[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (size_t i = 0; i < 16; ++i) {
    const float expected = (i < 8 ? numbers[i] : -numbers[i - 8]) * 2;
    CHECK(values[2 * i] == expected);
    CHECK(values[31 - 2 * i] == expected);
    CHECK(values[32 + 2 * i] == 0.5f / 8);
    CHECK(values[33 + 2 * i] == 6.0f / 8);
  }
  CHECK(std::signbit(values[16]));  // minus zero
}

TEST_CASE("every value is exact in bfloat16, the smallest and the largest too") {
  for (int scale = 0; scale < 255; ++scale) {
    std::vector<std::byte> block(16);
    for (size_t i = 0; i < 16; ++i) block[i] = static_cast<std::byte>(i);
    const std::vector<std::byte> scales = {static_cast<std::byte>(scale)};
    std::vector<float> values(32);
    DecodeMxfp4(block, scales, absl::MakeSpan(values));
    for (const float value : values) {
      uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof(bits));
      INFO(scale << ": " << value);
      REQUIRE((bits & 0xffff) == 0);
    }
  }
}

}  // namespace
}  // namespace tessera::shard_loader
