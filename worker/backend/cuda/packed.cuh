// Where a packed matrix (shard_loader/plan/packed_layout.h) holds what a kernel reads together.
#ifndef TESSERA_WORKER_BACKEND_CUDA_PACKED_CUH_
#define TESSERA_WORKER_BACKEND_CUDA_PACKED_CUH_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "shard_loader/plan/packed_layout.h"
#include "worker/backend/cuda/math.cuh"

namespace tessera::worker::cuda {

// Elements of 16 rows, all columns.
__host__ __device__ constexpr int64_t TileElements(int64_t columns) {
  return shard_loader::kTileRows * ((columns + 1) / 2 * 2);
}

// Index within a tile.
template <typename Type>
__host__ __device__ constexpr int64_t TileIndex(int64_t row, int64_t column) {
  const int64_t pair = column / 2 * 2 * shard_loader::kTileRows;
  if (Type::kType == shard_loader::DType::kBF16) return pair + row * 2 + column % 2;
  return pair + column % 2 * shard_loader::kTileRows + row;
}

// Columns 2 `pair` and 2 `pair` + 1 of rows 2 g and 2 g + 1 of a tile, as operands of the mma
// instruction: a word for each row. Lanes side by side read bytes side by side.
__device__ __forceinline__ void LoadPair(BF16, const uint16_t* tile, int64_t pair, int g,
                                         uint32_t* even_row, uint32_t* odd_row) {
  const uint2 words = *reinterpret_cast<const uint2*>(tile + pair * 32 + g * 4);
  *even_row = words.x;
  *odd_row = words.y;
}
__device__ __forceinline__ void LoadPair(F16, const uint16_t* tile, int64_t pair, int g,
                                         uint32_t* even_row, uint32_t* odd_row) {
  const uint32_t first = *reinterpret_cast<const uint32_t*>(tile + pair * 32 + g * 2);
  const uint32_t second = *reinterpret_cast<const uint32_t*>(tile + pair * 32 + 16 + g * 2);
  *even_row = __byte_perm(first, second, 0x5410);
  *odd_row = __byte_perm(first, second, 0x7632);
}

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_PACKED_CUH_
