#include "worker/backend/coded_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "shard_loader/plan/packed_layout.h"
#include "worker/tensor/convert.h"

namespace tessera::worker {
namespace {

using shard_loader::CodeByte;
using shard_loader::CodedTile;
using shard_loader::Codes;
using shard_loader::DType;
using shard_loader::kTileRows;

constexpr int64_t kLargestGroup = 128;

CodedTile TileOf(const PackedMatrix& matrix) {
  return shard_loader::MakeCodedTile(matrix.codes, matrix.columns, matrix.num_groups);
}

int ReadCode(const PackedMatrix& matrix, const std::byte* tile, int64_t row, int64_t column) {
  const int byte = static_cast<int>(tile[CodeByte(matrix.codes, row, column)]);
  if (matrix.codes == Codes::kInt8) return byte - 128;
  const int half = column % 8 < 4 ? byte & 15 : byte >> 4;
  return matrix.codes == Codes::kInt4 ? half - 8 : half;
}

void WriteCode(const PackedMatrix& matrix, std::byte* tile, int64_t row, int64_t column, int code) {
  std::byte& byte = tile[CodeByte(matrix.codes, row, column)];
  if (matrix.codes == Codes::kInt8) {
    byte = static_cast<std::byte>(code + 128);
    return;
  }
  const int half = matrix.codes == Codes::kInt4 ? code + 8 : code;
  byte |= static_cast<std::byte>(column % 8 < 4 ? half : half << 4);
}

// A scale that the matrix's dtype can hold, next to `scale`.
uint16_t NarrowScale(float scale, DType dtype, float* narrowed) {
  const uint16_t bits = dtype == DType::kF16 ? FloatToF16(scale) : FloatToBF16(scale);
  *narrowed = dtype == DType::kF16 ? F16ToFloat(bits) : BF16ToFloat(bits);
  return bits;
}

struct Extremes {
  float lowest = 0;
  float highest = 0;
  bool finite = true;
};

Extremes ExtremesOf(const float* values, int64_t count) {
  Extremes extremes = {values[0], values[0], true};
  for (int64_t i = 0; i < count; ++i) {
    extremes.lowest = std::min(extremes.lowest, values[i]);
    extremes.highest = std::max(extremes.highest, values[i]);
    extremes.finite = extremes.finite && std::isfinite(values[i]);
  }
  return extremes;
}

// The step between codes, before it is narrowed.
float StepOf(Codes codes, const Extremes& extremes) {
  const bool negative = -extremes.lowest >= extremes.highest;
  const float largest = negative ? extremes.lowest : extremes.highest;
  switch (codes) {
    case Codes::kInt8:
      return std::abs(largest) / 127.0f;
    case Codes::kInt4:
      return largest / -8.0f;
    default:
      return (extremes.highest - extremes.lowest) / 15.0f;
  }
}

void PackCodedGroup(const PackedMatrix& matrix, int64_t row, int64_t group, const float* values,
                    std::byte* image) {
  const int64_t count = matrix.groups[group + 1] - matrix.groups[group];
  std::array<int8_t, kLargestGroup> codes = {};
  RowGroup part = {row, group, codes.data(), 0, 0.0f};
  const Extremes extremes = ExtremesOf(values, count);
  float step = 0;
  if (!extremes.finite) {
    part.scale = NarrowScale(std::numeric_limits<float>::quiet_NaN(), matrix.dtype, &step);
    return PackRowGroup(matrix, part, image);
  }
  part.scale = NarrowScale(StepOf(matrix.codes, extremes), matrix.dtype, &step);
  const bool offset = matrix.codes == Codes::kInt4Offset;
  if (offset) part.minimum = extremes.lowest;
  const float inverse = step == 0 ? 0.0f : 1.0f / step;
  const float least = matrix.codes == Codes::kInt8 ? -127.0f : offset ? 0.0f : -8.0f;
  const float most = matrix.codes == Codes::kInt8 ? 127.0f : offset ? 15.0f : 7.0f;
  for (int64_t i = 0; i < count; ++i) {
    const float scaled = std::nearbyint((values[i] - part.minimum) * inverse);
    codes[i] = static_cast<int8_t>(std::clamp(scaled, least, most));
  }
  PackRowGroup(matrix, part, image);
}

}  // namespace

int64_t GroupOf(const PackedMatrix& matrix, int64_t column) {
  const int64_t* end = matrix.groups + matrix.num_groups + 1;
  return std::upper_bound(matrix.groups, end, column) - matrix.groups - 1;
}

float ElementOf(const PackedMatrix& matrix, int64_t row, int64_t column) {
  if (matrix.codes == Codes::kNone) {
    return LoadElement(matrix.data,
                       shard_loader::PackedIndex(row, column, matrix.columns, matrix.dtype),
                       matrix.dtype);
  }
  const CodedTile layout = TileOf(matrix);
  const std::byte* tile = matrix.data + row / kTileRows * layout.bytes;
  const int64_t index = GroupOf(matrix, column) * kTileRows + row % kTileRows;
  const float scale = LoadElement(tile + layout.scales, index, matrix.dtype);
  const float value = static_cast<float>(ReadCode(matrix, tile, row, column)) * scale;
  if (matrix.codes != Codes::kInt4Offset) return value;
  return value + LoadElement(tile + layout.minima, index, DType::kF32);
}

void ReadRow(const PackedMatrix& matrix, int64_t row, float* values) {
  if (matrix.codes == Codes::kNone) {
    for (int64_t column = 0; column < matrix.columns; ++column) {
      values[column] = ElementOf(matrix, row, column);
    }
    return;
  }
  const CodedTile layout = TileOf(matrix);
  const std::byte* tile = matrix.data + row / kTileRows * layout.bytes;
  for (int64_t group = 0; group < matrix.num_groups; ++group) {
    const int64_t index = group * kTileRows + row % kTileRows;
    const float scale = LoadElement(tile + layout.scales, index, matrix.dtype);
    const bool offset = matrix.codes == Codes::kInt4Offset;
    const float minimum = offset ? LoadElement(tile + layout.minima, index, DType::kF32) : 0.0f;
    for (int64_t column = matrix.groups[group]; column < matrix.groups[group + 1]; ++column) {
      const float value = static_cast<float>(ReadCode(matrix, tile, row, column)) * scale;
      values[column] = offset ? value + minimum : value;
    }
  }
}

void PackRowGroup(const PackedMatrix& matrix, const RowGroup& part, std::byte* image) {
  const CodedTile layout = TileOf(matrix);
  std::byte* tile = image + part.row / kTileRows * layout.bytes;
  const int64_t begin = matrix.groups[part.group];
  for (int64_t column = begin; column < matrix.groups[part.group + 1]; ++column) {
    WriteCode(matrix, tile, part.row, column, part.codes[column - begin]);
  }
  const int64_t index = part.group * kTileRows + part.row % kTileRows;
  std::memcpy(tile + layout.scales + index * 2, &part.scale, sizeof(part.scale));
  if (matrix.codes == Codes::kInt4Offset) {
    std::memcpy(tile + layout.minima + index * 4, &part.minimum, sizeof(part.minimum));
  }
}

void PackCodedRow(const PackedMatrix& matrix, int64_t row, const float* values, std::byte* image) {
  for (int64_t group = 0; group < matrix.num_groups; ++group) {
    PackCodedGroup(matrix, row, group, values + matrix.groups[group], image);
  }
}

}  // namespace tessera::worker
