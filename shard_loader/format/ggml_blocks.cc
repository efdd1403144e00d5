#include "shard_loader/format/ggml_blocks.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace tessera::shard_loader {
namespace {

constexpr int kSmall = 32;   // elements of a Q4_0 to Q8_0 block
constexpr int kLarge = 256;  // of a K block

float HalfAt(const uint8_t* bytes) {
  return HalfToFloat(static_cast<unsigned short>(bytes[0] | bytes[1] << 8));
}

// Element i is the low nibble of byte i, element i + 16 the high one.
void DecodeQ4_0(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  for (int i = 0; i < kSmall / 2; ++i) {
    out[i] = static_cast<float>((block[2 + i] & 15) - 8) * scale;
    out[i + 16] = static_cast<float>((block[2 + i] >> 4) - 8) * scale;
  }
}

void DecodeQ4_1(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  const float least = HalfAt(block + 2);
  for (int i = 0; i < kSmall / 2; ++i) {
    out[i] = static_cast<float>(block[4 + i] & 15) * scale + least;
    out[i + 16] = static_cast<float>(block[4 + i] >> 4) * scale + least;
  }
}

// The fifth bit of element i is bit i of a word before the nibbles.
void FiveBits(const uint8_t* high, const uint8_t* low, int* out) {
  uint32_t bits = 0;
  std::memcpy(&bits, high, sizeof(bits));
  for (int i = 0; i < kSmall / 2; ++i) {
    out[i] = (low[i] & 15) | static_cast<int>(bits >> i & 1) << 4;
    out[i + 16] = low[i] >> 4 | static_cast<int>(bits >> (i + 16) & 1) << 4;
  }
}

void DecodeQ5_0(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  int codes[kSmall];
  FiveBits(block + 2, block + 6, codes);
  for (int i = 0; i < kSmall; ++i) out[i] = static_cast<float>(codes[i] - 16) * scale;
}

void DecodeQ5_1(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  const float least = HalfAt(block + 2);
  int codes[kSmall];
  FiveBits(block + 4, block + 8, codes);
  for (int i = 0; i < kSmall; ++i) out[i] = static_cast<float>(codes[i]) * scale + least;
}

void DecodeQ8_0(const uint8_t* block, float* out) {
  const float scale = HalfAt(block);
  for (int i = 0; i < kSmall; ++i) {
    out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * scale;
  }
}

// Eight 6-bit scales and minima in 12 bytes (ggml's get_scale_min_k4).
void ScaleAndMin(const uint8_t* packed, int group, int* scale, int* min) {
  if (group < 4) {
    *scale = packed[group] & 63;
    *min = packed[group + 4] & 63;
  } else {
    *scale = (packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4;
    *min = packed[group + 4] >> 4 | (packed[group] >> 6) << 4;
  }
}

// Q4_K and Q5_K: eight groups of 32; two neighbouring groups share 32 bytes, low nibbles first.
// `high` holds, for Q5_K, the fifth bit of element i of group g in bit g of byte i; else null.
void DecodeGroups(const uint8_t* block, const uint8_t* high, const uint8_t* low, float* out) {
  const float scale = HalfAt(block);
  const float min = HalfAt(block + 2);
  for (int group = 0; group < 8; ++group) {
    int group_scale = 0;
    int group_min = 0;
    ScaleAndMin(block + 4, group, &group_scale, &group_min);
    const float factor = scale * static_cast<float>(group_scale);
    const float offset = min * static_cast<float>(group_min);
    for (int i = 0; i < 32; ++i) {
      const uint8_t byte = low[group / 2 * 32 + i];
      int code = group % 2 == 0 ? byte & 15 : byte >> 4;
      if (high != nullptr) code |= (high[i] >> group & 1) << 4;
      out[group * 32 + i] = factor * static_cast<float>(code) - offset;
    }
  }
}

void DecodeQ4K(const uint8_t* block, float* out) { DecodeGroups(block, nullptr, block + 16, out); }

void DecodeQ5K(const uint8_t* block, float* out) {
  DecodeGroups(block, block + 16, block + 48, out);
}

// 128 bytes of low nibbles, 64 of high pairs, 16 signed scales of 16 elements each, the scale.
void DecodeQ6K(const uint8_t* block, float* out) {
  const uint8_t* low = block;
  const uint8_t* high = block + 128;
  const auto* scales = reinterpret_cast<const int8_t*>(block + 192);
  const float scale = HalfAt(block + 208);
  for (int i = 0; i < kLarge; ++i) {
    const int half = i / 128;
    const int quarter = i % 128 / 32;  // which bits of the shared bytes
    const int lane = i % 32;
    const uint8_t nibbles = low[half * 64 + quarter % 2 * 32 + lane];
    const int code = (quarter < 2 ? nibbles & 15 : nibbles >> 4) |
                     (high[half * 32 + lane] >> (2 * quarter) & 3) << 4;
    out[i] = scale * static_cast<float>(scales[i / 16]) * static_cast<float>(code - 32);
  }
}

template <typename Decode>
void ForEachBlock(StoredType type, absl::Span<const std::byte> blocks, absl::Span<float> values,
                  Decode decode) {
  const StoredBlock shape = BlockOf(type);
  const auto* bytes = reinterpret_cast<const uint8_t*>(blocks.data());
  const size_t count = blocks.size() / static_cast<size_t>(shape.bytes);
  for (size_t i = 0; i < count; ++i) {
    decode(bytes + i * shape.bytes, values.data() + i * shape.elements);
  }
}

}  // namespace

bool IsBlockType(StoredType type) { return BlockOf(type).elements > 1; }

float HalfToFloat(unsigned short half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 31;
  const uint32_t fraction = half & 1023;
  if (exponent == 0) {  // zero and subnormal: fraction * 2^-24, exact
    const float value = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
  }
  const uint32_t bits =
      exponent == 31 ? 0x7f800000U | fraction << 13 : (exponent + 112) << 23 | fraction << 13;
  return std::bit_cast<float>(bits | sign);
}

bool HasCodes(StoredType type) {
  return type == StoredType::kQ8_0 || type == StoredType::kQ4_0 || type == StoredType::kQ4_1;
}

void DecodeCodes(StoredType type, absl::Span<const std::byte> blocks, const BlockCodes& out) {
  const auto size = static_cast<size_t>(BlockOf(type).bytes);
  const auto* bytes = reinterpret_cast<const uint8_t*>(blocks.data());
  for (size_t i = 0; i < blocks.size() / size; ++i) {
    const uint8_t* block = bytes + i * size;
    int8_t* codes = out.codes.data() + i * kSmall;
    std::memcpy(&out.scales[i], block, sizeof(uint16_t));
    out.minima[i] = type == StoredType::kQ4_1 ? HalfAt(block + 2) : 0.0f;
    if (type == StoredType::kQ8_0) {
      std::memcpy(codes, block + 2, kSmall);
      continue;
    }
    const uint8_t* nibbles = block + (type == StoredType::kQ4_1 ? 4 : 2);
    const int zero = type == StoredType::kQ4_1 ? 0 : 8;
    for (int j = 0; j < kSmall / 2; ++j) {
      codes[j] = static_cast<int8_t>((nibbles[j] & 15) - zero);
      codes[j + kSmall / 2] = static_cast<int8_t>((nibbles[j] >> 4) - zero);
    }
  }
}

void DecodeBlocks(StoredType type, absl::Span<const std::byte> blocks, absl::Span<float> values) {
  switch (type) {
    case StoredType::kQ4_0:
      return ForEachBlock(type, blocks, values, DecodeQ4_0);
    case StoredType::kQ4_1:
      return ForEachBlock(type, blocks, values, DecodeQ4_1);
    case StoredType::kQ5_0:
      return ForEachBlock(type, blocks, values, DecodeQ5_0);
    case StoredType::kQ5_1:
      return ForEachBlock(type, blocks, values, DecodeQ5_1);
    case StoredType::kQ8_0:
      return ForEachBlock(type, blocks, values, DecodeQ8_0);
    case StoredType::kQ4K:
      return ForEachBlock(type, blocks, values, DecodeQ4K);
    case StoredType::kQ5K:
      return ForEachBlock(type, blocks, values, DecodeQ5K);
    case StoredType::kQ6K:
      return ForEachBlock(type, blocks, values, DecodeQ6K);
    default:
      return;
  }
}

}  // namespace tessera::shard_loader
