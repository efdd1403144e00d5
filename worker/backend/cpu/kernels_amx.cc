// What is compiled for AMX with AVX-512 and its BF16: products in tiles.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "shard_loader/plan/codes.h"
#include "worker/backend/cpu/kernels.h"

namespace tessera::worker {
namespace {

using shard_loader::DType;

// Each block over those above it.
#include "worker/backend/cpu/vec_avx512.inc"

#include "worker/backend/cpu/coded_segment.inc"
#include "worker/backend/cpu/pairs.inc"
#include "worker/backend/cpu/product_parts.inc"
#include "worker/backend/cpu/tile_amx.inc"

#include "worker/backend/cpu/product_amx.inc"

#include "worker/backend/cpu/product_amx_bf16.inc"

}  // namespace

const DotKernels kAmxKernels = {2 * kTileHeight, &NarrowRows, &TileProductOfPairs, 2 * kTileHeight,
                                &TileProductCoded};

}  // namespace tessera::worker
