// What is compiled for AVX-512 with BF16: products with matrices in bf16, by dot instructions.
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

#include "worker/backend/cpu/pairs.inc"
#include "worker/backend/cpu/product_parts.inc"

#include "worker/backend/cpu/product_bf16.inc"

}  // namespace

const DotKernels kAvx512Bf16Kernels = {kPairRows, &NarrowRows, &ProductOfPairs, 0, nullptr};

}  // namespace tessera::worker
