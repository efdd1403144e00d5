#include "shard_loader/format/fp8.h"

#include <catch2/catch.hpp>
#include <cmath>

namespace tessera::shard_loader {
namespace {

float Decode(int bits) { return DecodeE4M3(static_cast<std::byte>(bits)); }

TEST_CASE("numbers of E4M3 are those of its definition") {
  CHECK(Decode(0x00) == 0.0f);
  CHECK(std::signbit(Decode(0x80)));
  CHECK(Decode(0x01) == 0x1p-9f);  // the least
  CHECK(Decode(0x07) == 7 * 0x1p-9f);
  CHECK(Decode(0x08) == 0x1p-6f);  // the least normal one
  CHECK(Decode(0x38) == 1.0f);
  CHECK(Decode(0x3c) == 1.5f);
  CHECK(Decode(0xbc) == -1.5f);
  CHECK(Decode(0x7e) == 448.0f);  // the largest
  CHECK(Decode(0xfe) == -448.0f);
  CHECK(std::isnan(Decode(0x7f)));
  CHECK(std::isnan(Decode(0xff)));
  for (int bits = 1; bits < 0x7f; ++bits) CHECK(Decode(bits) > Decode(bits - 1));
}

}  // namespace
}  // namespace tessera::shard_loader
