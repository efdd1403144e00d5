#include "shard_loader/format/mxfp4.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

namespace tessera::shard_loader {
namespace {

constexpr size_t kBlockBytes = 16;
constexpr int kBias = 127;
constexpr uint8_t kNan = 255;
// E2M1 by its four bits; the highest one is the sign.
constexpr std::array<float, 16> kNumbers = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                            -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

}  // namespace

void DecodeMxfp4(absl::Span<const std::byte> blocks, absl::Span<const std::byte> scales,
                 absl::Span<float> values) {
  for (size_t block = 0; block < scales.size(); ++block) {
    const auto exponent = static_cast<uint8_t>(scales[block]);
    const float scale = exponent == kNan ? std::numeric_limits<float>::quiet_NaN()
                                         : std::ldexp(1.0f, exponent - kBias);
    for (size_t i = 0; i < kBlockBytes; ++i) {
      const auto pair = static_cast<uint8_t>(blocks[block * kBlockBytes + i]);
      float* const out = values.data() + (block * kBlockBytes + i) * 2;
      out[0] = kNumbers[pair & 15] * scale;
      out[1] = kNumbers[pair >> 4] * scale;
    }
  }
}

}  // namespace tessera::shard_loader
