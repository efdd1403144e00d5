// Products in the order of worker/backend/cpu: one fp32 accumulator for an output and lane, to
// which fma adds input[k] * weight[k] for k ascending; lanes meet along the tree.
//
// Idea: a thread holds one output of kRows rows; neighbours read neighbouring weights. Shapes:
// input [rows, columns], weights in tiles of 16 rows, output [roots, rows, weight rows].
// Bottleneck: the fma units and the loads of inputs; this is the yardstick of the tests and the
// path of fp32 weights, not the fast one.
#include <cuda_runtime.h>

#include "worker/backend/cuda/grouping.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"
#include "worker/backend/cuda/packed.cuh"

namespace tessera::worker::cuda {
namespace {

using shard_loader::kTileRows;

constexpr int kThreads = 128;

template <typename Type, int kRows>
__global__ void ProductFmaKernel(ProductArgs args, LaneList lanes, Grouping groups) {
  const BlockRows rows = RowsOfBlock(groups, args.num_rows, kRows);
  if (!rows.there) return;
  const int64_t n = int64_t{blockIdx.x} * kThreads + Thread();
  if (n >= args.weights.rows) return;
  const int64_t columns = args.weights.columns;
  const typename Type::Bits* tile = reinterpret_cast<const typename Type::Bits*>(
                                        args.weights.data + rows.matrix * groups.stride) +
                                    n / kTileRows * TileElements(columns);
  const float* bias = args.bias == nullptr ? nullptr : args.bias + rows.matrix * groups.bias_stride;
  const float* inputs[kRows];
  for (int r = 0; r < kRows; ++r) {  // the last rows are computed twice rather than not at all
    const int64_t row = rows.first + r < rows.end ? rows.first + r : rows.end - 1;
    inputs[r] = args.input + row * columns;
  }
  float waiting[kMaxFoldDepth][kRows];
  int depth = 0;
  for (int l = 0; l < lanes.count; ++l) {
    const LaneEntry lane = lanes.lanes[l];
    float sums[kRows] = {};
    for (int64_t k = lane.begin; k < lane.end; ++k) {
      const float weight = Type::Widen(tile[TileIndex<Type>(n % kTileRows, k)]);
#pragma unroll
      for (int r = 0; r < kRows; ++r) sums[r] = fmaf(inputs[r][k], weight, sums[r]);
    }
    for (int fold = 0; fold < lane.folds; ++fold) {
      --depth;
      for (int r = 0; r < kRows; ++r) sums[r] = waiting[depth][r] + sums[r];
    }
    for (int r = 0; r < kRows; ++r) {
      if (lane.root < 0) {
        waiting[depth][r] = sums[r];
      } else if (rows.first + r < rows.end) {
        args.output[lane.root * args.root_stride + (rows.first + r) * args.weights.rows + n] =
            bias == nullptr ? sums[r] : sums[r] + bias[n];
      }
    }
    if (lane.root < 0) ++depth;
  }
}

template <typename Type, int kRows>
int LaunchRows(const ProductArgs& args, const LaneList& lanes, const Grouping& groups,
               CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(args.weights.rows, kThreads)),
                  BlocksOfRows(groups, args.num_rows, kRows));
  return Launch(stream, ProductFmaKernel<Type, kRows>, grid, kThreads, 0, args, lanes, groups);
}

}  // namespace

int ProductFma(const ProductArgs& args, const LaneList& lanes, const Grouping& groups,
               CUstream_st* stream) {
  return WithType(args.weights.dtype, [&](auto type) {
    using Type = decltype(type);
    return SingleRows(groups, args.num_rows) ? LaunchRows<Type, 1>(args, lanes, groups, stream)
                                             : LaunchRows<Type, 8>(args, lanes, groups, stream);
  });
}

}  // namespace tessera::worker::cuda
