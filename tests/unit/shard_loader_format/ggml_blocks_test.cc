#include "shard_loader/format/ggml_blocks.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

TEST_CASE("blocks of every quantisation decode to the bits that the gguf package gives") {
  for (const StoredType type :
       {StoredType::kQ4_0, StoredType::kQ4_1, StoredType::kQ5_0, StoredType::kQ5_1,
        StoredType::kQ8_0, StoredType::kQ4K, StoredType::kQ5K, StoredType::kQ6K}) {
    const std::string name(StoredTypeName(type));
    const std::string blocks = tests::ReadFile(tests::Fixture("ggml_blocks/" + name + ".blocks"));
    const std::string expected = tests::ReadFile(tests::Fixture("ggml_blocks/" + name + ".f32"));
    const StoredBlock block = BlockOf(type);
    REQUIRE(blocks.size() % block.bytes == 0);
    std::vector<float> values(blocks.size() / block.bytes * block.elements);
    REQUIRE(expected.size() == values.size() * sizeof(float));
    DecodeBlocks(type, {reinterpret_cast<const std::byte*>(blocks.data()), blocks.size()},
                 absl::MakeSpan(values));
    INFO(name);
    CHECK(std::memcmp(values.data(), expected.data(), expected.size()) == 0);
  }
}

TEST_CASE("integers, scales and minima of blocks are what they decode to") {
  for (const StoredType type : {StoredType::kQ4_0, StoredType::kQ4_1, StoredType::kQ8_0}) {
    REQUIRE(HasCodes(type));
    const std::string name(StoredTypeName(type));
    const std::string blocks = tests::ReadFile(tests::Fixture("ggml_blocks/" + name + ".blocks"));
    const std::string expected = tests::ReadFile(tests::Fixture("ggml_blocks/" + name + ".f32"));
    const size_t count = blocks.size() / BlockOf(type).bytes;
    std::vector<int8_t> codes(count * 32);
    std::vector<uint16_t> scales(count);
    std::vector<float> minima(count);
    DecodeCodes(type, {reinterpret_cast<const std::byte*>(blocks.data()), blocks.size()},
                {absl::MakeSpan(codes), absl::MakeSpan(scales), absl::MakeSpan(minima)});
    INFO(name);
    for (size_t i = 0; i < codes.size(); ++i) {
      float wanted = 0;
      std::memcpy(&wanted, expected.data() + i * sizeof(float), sizeof(wanted));
      const float product = static_cast<float>(codes[i]) * HalfToFloat(scales[i / 32]);
      REQUIRE((type == StoredType::kQ4_1 ? product + minima[i / 32] : product) == wanted);
    }
  }
  CHECK_FALSE(HasCodes(StoredType::kQ6K));
}

TEST_CASE("halves widen exactly") {
  CHECK(HalfToFloat(0x3c00) == 1.0F);
  CHECK(HalfToFloat(0xc000) == -2.0F);
  CHECK(HalfToFloat(0x7bff) == 65504.0F);
  CHECK(HalfToFloat(0x0001) == 0x1p-24F);
  CHECK(HalfToFloat(0x03ff) == 1023 * 0x1p-24F);
  CHECK(HalfToFloat(0x0400) == 0x1p-14F);
  CHECK(std::signbit(HalfToFloat(0x8000)));
  CHECK(HalfToFloat(0x8001) == -0x1p-24F);
  CHECK(std::isinf(HalfToFloat(0x7c00)));
  CHECK(std::isnan(HalfToFloat(0x7e00)));
}

}  // namespace
}  // namespace tessera::shard_loader
