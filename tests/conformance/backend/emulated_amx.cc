// Products in the tiles of AMX, whose instructions are emulated: what is left is compiled for
// AVX-512 and its BF16.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "shard_loader/plan/codes.h"
#include "tests/conformance/backend/emulated_amx.h"

namespace tessera::worker {
namespace {

using shard_loader::DType;

// Each block over those above it.
#include "worker/backend/cpu/vec_avx512.inc"

#include "tests/conformance/backend/tile_emulated.inc"
#include "worker/backend/cpu/coded_segment.inc"
#include "worker/backend/cpu/pairs.inc"
#include "worker/backend/cpu/product_parts.inc"

#include "worker/backend/cpu/product_amx.inc"

#include "worker/backend/cpu/product_amx_bf16.inc"

}  // namespace

const DotKernels kEmulatedAmxKernels = {2 * kTileHeight, &NarrowRows, &TileProductOfPairs,
                                        2 * kTileHeight, &TileProductCoded};

}  // namespace tessera::worker
