// The kernels compiled for AVX2 with FMA and F16C.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "shard_loader/plan/codes.h"
#include "shard_loader/plan/workspace.h"
#include "worker/backend/cpu/kernels.h"
#include "worker/tensor/convert.h"

namespace tessera::worker {
namespace {

using shard_loader::DType;
using shard_loader::kKvBlockTokens;

// Each block over those above it.
#include "worker/backend/cpu/vec_avx2.inc"

#include "worker/backend/cpu/math.inc"

#include "worker/backend/cpu/codes.inc"

#include "worker/backend/cpu/attention.inc"
#include "worker/backend/cpu/elementwise.inc"
#include "worker/backend/cpu/norm.inc"

#include "worker/backend/cpu/coded_segment.inc"
#include "worker/backend/cpu/product_parts.inc"

#include "worker/backend/cpu/product.inc"
#include "worker/backend/cpu/product_coded.inc"

}  // namespace

const CpuKernels kAvx2Kernels = {"avx2",           kBlockRows,    kDotRows,     &Product,
                                 &CodeRows,        &ProductCoded, &Norm,        &SquareSums,
                                 &RopeAndStore,    &Attend,       &Activate,    &AddToResidual,
                                 &AddWeightedRows, &ScaleAndCap,  &SoftmaxBlock};

}  // namespace tessera::worker
