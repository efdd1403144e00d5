// Which rows a block of a product takes, and of which matrix: blockIdx.y counts the rows' blocks.
#ifndef TESSERA_WORKER_BACKEND_CUDA_GROUPING_CUH_
#define TESSERA_WORKER_BACKEND_CUDA_GROUPING_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"

namespace tessera::worker::cuda {

struct BlockRows {
  int64_t first = 0;
  int64_t end = 0;
  int64_t matrix = 0;
  bool there = false;  // else the block has nothing to do
};

__device__ __forceinline__ BlockRows RowsOfBlock(const Grouping& groups, int64_t num_rows,
                                                 int rows_per_block) {
  if (groups.tiles == nullptr) {
    return {int64_t{blockIdx.y} * rows_per_block, num_rows, 0, true};
  }
  if (static_cast<int64_t>(blockIdx.y) >= *groups.num_tiles) return {};
  const GroupTile tile = groups.tiles[blockIdx.y];
  return {tile.first, int64_t{tile.first} + tile.count, tile.matrix, true};
}

inline unsigned BlocksOfRows(const Grouping& groups, int64_t num_rows, int rows_per_block) {
  return static_cast<unsigned>(groups.tiles == nullptr ? CeilDiv(num_rows, rows_per_block)
                                                       : groups.max_tiles);
}

// Whether no block has more than one row.
inline bool SingleRows(const Grouping& groups, int64_t num_rows) {
  return groups.tiles == nullptr ? num_rows == 1 : groups.tile_rows == 1;
}

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_GROUPING_CUH_
