// Which way a product goes on a device. What decides an output's bits (the instruction, how many
// columns it adds at once, the cuts of a lane) is a row of one table, found by the order of the
// kernel set, the dtype of the weights and the columns of the lane: never by rows of the batch or
// of the weights, so that an output has the same bits alone, in a batch and at every tp. Which
// threads hold which outputs follows from the rows, and decides no bit. Pure; no CUDA.
#ifndef TESSERA_WORKER_BACKEND_CUDA_PRODUCT_TABLE_H_
#define TESSERA_WORKER_BACKEND_CUDA_PRODUCT_TABLE_H_

#include <cstdint>

#include "shard_loader/model/dtype.h"
#include "shard_loader/plan/codes.h"
#include "worker/backend/cuda/kernels.h"

namespace tessera::worker::cuda {

enum class ProductKernel {
  kFma,   // one column at a time (product_fma.cu)
  kMma,   // mma.sync.m16n8k16 (product_mma.cu)
  kCodes  // integers of 8 bits, a segment at a time (product_coded.cu)
};

struct ProductAlgorithm {
  ProductKernel kernel = ProductKernel::kFma;
  int columns_at_once = 1;  // that an instruction adds to an accumulator; 0: a whole segment
  int cuts = 1;             // parts of a lane, which are summed alone and added as a tree
};

// Of a lane of `columns`. The kernel is the same for every number of columns.
const ProductAlgorithm& AlgorithmOf(Order order, shard_loader::DType dtype,
                                    shard_loader::Codes codes, int64_t columns);

// The lanes of a product, each in as many parts as its algorithm says. False where there are too
// many.
bool MakeLaneList(const ProductArgs& args, Order order, LaneList* list);

// How ProductMma spreads its outputs: a warp for each lane of 16 weight rows and 8, 16 or 32 rows
// of the batch, or blocks of 128 x 128.
enum class MmaTiling { kFew8, kFew16, kFew32, kMany };
MmaTiling TilingOf(int64_t num_rows, const LaneList& lanes);
// Of the tiles of a Grouping: never kMany.
MmaTiling GroupTilingOf(int64_t tile_rows);

// How many rows a tile of a Grouping takes: `pairs` of a row and one of its experts, over
// `num_experts` of them, `num_rows` rows in all.
int64_t GroupTileRows(ProductKernel kernel, int64_t num_rows, int64_t pairs, int64_t num_experts);
// Tiles that `pairs` can make at most.
int64_t MaxGroupTiles(int64_t pairs, int64_t num_experts, int64_t tile_rows);

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_PRODUCT_TABLE_H_
