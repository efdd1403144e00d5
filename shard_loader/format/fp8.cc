#include "shard_loader/format/fp8.h"

#include <cmath>
#include <limits>

namespace tessera::shard_loader {

float DecodeE4M3(std::byte number) {
  const int bits = std::to_integer<int>(number);
  const int exponent = bits >> 3 & 15;
  const int fraction = bits & 7;
  float value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                              : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  if (exponent == 15 && fraction == 7) value = std::numeric_limits<float>::quiet_NaN();
  return (bits & 0x80) != 0 ? -value : value;
}

}  // namespace tessera::shard_loader
