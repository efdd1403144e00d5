// The kernels compiled for AVX-512 (F, BW, VL, DQ) with VNNI.
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
#include "worker/backend/cpu/vec_avx512.inc"

#include "worker/backend/cpu/dot_vnni.inc"

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

const CpuKernels kAvx512VnniKernels = {
    "avx512_vnni", kBlockRows,     kDotRows,         &Product,      &CodeRows,
    &ProductCoded, &Norm,          &SquareSums,      &RopeAndStore, &Attend,
    &Activate,     &AddToResidual, &AddWeightedRows, &ScaleAndCap,  &SoftmaxBlock};

}  // namespace tessera::worker
