// Bottleneck: memory. A tile of 16 rows is walked in blocks of columns that stay in the first
// cache, so that each line of the source is fetched once and the tile is written from front to
// back.
#include "worker/model/pack_same.h"

#include <algorithm>
#include <cstring>

#include "shard_loader/plan/packed_layout.h"

namespace tessera::worker {
namespace {

using shard_loader::DType;
using shard_loader::kTileRows;

constexpr int64_t kBlock = 16;  // units of a row: one line of the cache in 4 bytes

// Units [0, count) of each of `height` rows, `stride` bytes apart, to [count][16].
template <typename Unit>
void Turn(const std::byte* from, int64_t stride, int64_t height, int64_t count, Unit* to) {
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t width = std::min(kBlock, count - first);
    for (int64_t row = 0; row < height; ++row) {
      Unit units[kBlock];
      std::memcpy(units, from + row * stride + first * static_cast<int64_t>(sizeof(Unit)),
                  static_cast<size_t>(width) * sizeof(Unit));
      for (int64_t i = 0; i < width; ++i) to[(first + i) * kTileRows + row] = units[i];
    }
  }
}

}  // namespace

void PackSame(const std::byte* from, int64_t rows, int64_t columns, DType dtype, std::byte* to) {
  const int64_t size = DTypeSize(dtype);
  const int64_t stride = columns * size;
  const int64_t tile_bytes = shard_loader::PackedElements(kTileRows, columns) * size;
  for (int64_t row = 0; row < rows; row += kTileRows) {
    const int64_t height = std::min(kTileRows, rows - row);
    std::byte* const tile = to + row / kTileRows * tile_bytes;
    const std::byte* const front = from + row * stride;
    if (dtype == DType::kF16) {
      Turn(front, stride, height, columns, reinterpret_cast<uint16_t*>(tile));
    } else if (dtype == DType::kF32) {
      Turn(front, stride, height, columns, reinterpret_cast<uint32_t*>(tile));
    } else {
      Turn(front, stride, height, columns / 2, reinterpret_cast<uint32_t*>(tile));
      if (columns % 2 == 0) continue;
      for (int64_t r = 0; r < height; ++r) {  // the last column's pair has zeros beside it
        const int64_t index = shard_loader::PackedIndex(r, columns - 1, columns, dtype);
        std::memcpy(tile + index * size, front + r * stride + (columns - 1) * size, size);
      }
    }
  }
}

}  // namespace tessera::worker
