#include "worker/tensor/convert.h"

#include <bit>
#include <cstring>

namespace tessera::worker {

using shard_loader::DType;

float BF16ToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

float F16ToFloat(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t fraction = bits & 0x3ff;
  if (exponent == 0x1f) {  // infinity, or NaN made quiet as the F16C instructions do
    return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13 |
                                (fraction != 0 ? 0x400000u : 0));
  }
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact in fp32
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t FloatToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

uint16_t FloatToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u | (magnitude >> 13 & 0x3ffu);
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and more round to infinity
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 2^-1 leaves the subnormal's bits below
    const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(rounded) - 0x3f000000u);
  }
  const uint32_t rebiased = magnitude - (112u << 23);
  return sign | static_cast<uint16_t>((rebiased + 0xfffu + (rebiased >> 13 & 1)) >> 13);
}

float LoadElement(const std::byte* data, int64_t index, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, data + index * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + index * 2, 2);
  return dtype == DType::kBF16 ? BF16ToFloat(bits) : F16ToFloat(bits);
}

void StoreElement(float value, std::byte* data, int64_t index, DType dtype) {
  if (dtype == DType::kF32) {
    std::memcpy(data + index * 4, &value, 4);
    return;
  }
  const uint16_t bits = dtype == DType::kBF16 ? FloatToBF16(value) : FloatToF16(value);
  std::memcpy(data + index * 2, &bits, 2);
}

void WidenElements(const std::byte* from, DType dtype, int64_t count, float* to) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(to, from, static_cast<size_t>(count) * 4);
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < count; ++i) to[i] = LoadElement(from, i, DType::kBF16);
      return;
    case DType::kF16:
      for (int64_t i = 0; i < count; ++i) to[i] = LoadElement(from, i, DType::kF16);
      return;
  }
}

void NarrowElements(const float* from, int64_t count, DType dtype, std::byte* to) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(to, from, static_cast<size_t>(count) * 4);
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < count; ++i) StoreElement(from[i], to, i, DType::kBF16);
      return;
    case DType::kF16:
      for (int64_t i = 0; i < count; ++i) StoreElement(from[i], to, i, DType::kF16);
      return;
  }
}

}  // namespace tessera::worker
