// Products of fp32 rows with a coded matrix (int8, int4, int4 with minima), in the order of
// worker/backend/cpu (product_coded.inc there): inputs become integers of 8 bits with a scale for
// each segment, a group of columns within one lane; a segment's products are summed as integers,
// which is exact in any order; one fma for each segment adds them to the lane's accumulator,
// ascending. So every kernel set of a device gives the CPU's bits.
//
// Idea: a block holds 32 outputs of kRows rows. Its warps sum the segments side by side, as many as
// there are warps; then warp w adds them up for row w. Shapes: inputs [rows][code bytes], weights
// in tiles of 16 rows. Bottleneck: the bandwidth of the codes with few rows, the integer dot
// instruction with many. Measure with tests/bench/cuda.
#include <cuda_runtime.h>

#include "shard_loader/plan/packed_layout.h"
#include "worker/backend/cuda/codes.cuh"
#include "worker/backend/cuda/grouping.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"

namespace tessera::worker::cuda {
namespace {

using shard_loader::Codes;
using shard_loader::DType;
using shard_loader::kTileRows;

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kOutputs = 32;

// shard_loader::CodeByte, on the device.
__device__ __forceinline__ int64_t ByteOf(Codes codes, int64_t row, int64_t column) {
  const int64_t half = codes == Codes::kInt8 ? column / 4 : column / 8;
  return (half * kTileRows + row) * 4 + column % 4;
}

__device__ __forceinline__ float WidenScale(DType dtype, uint16_t bits) {
  return dtype == DType::kF16 ? WidenF16(bits) : WidenBF16(bits);
}

// A warp to a segment of a row.
__global__ void CodeRowsKernel(CodedProduct args) {
  const int64_t s = int64_t{blockIdx.x} * kWarps + Thread() / 32;
  if (s >= args.num_segments) return;
  const int lane = Thread() % 32;
  const int64_t row = blockIdx.y;
  const CodedSegment segment = args.segments[s];
  const float* values = args.product.input + row * args.product.weights.columns;
  int8_t* codes = args.codes + row * args.code_stride + segment.codes;
  const Steps steps = StepsOf(values, segment.begin, segment.end);
  int sum = 0;
  const int first = segment.block * 8;
  for (int i = lane; i < segment.blocks * 8; i += 32) {
    const int c = first + i;
    int code = 0;
    if (c >= segment.begin && c < segment.end) code = CodeOf(values[c], steps);
    codes[i] = static_cast<int8_t>(code);
    sum += code;
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  }
  if (lane != 0) return;
  args.scales[row * args.num_segments + s] = steps.scale;
  args.sums[row * args.num_segments + s] = sum;
}

// The sum of code x input over a segment, for one output and kRows rows.
template <Codes kCodes, int kRows>
__device__ __forceinline__ void DotSegment(const std::byte* tile, int64_t n,
                                           const CodedSegment& segment, const int8_t* const* inputs,
                                           int (&totals)[kRows]) {
  const int row = static_cast<int>(n % kTileRows);
  for (int b = 0; b < segment.blocks; ++b) {
    uint32_t low, high;
    const int64_t block = segment.block + b;
    if (kCodes == Codes::kInt8) {
      const auto* words = reinterpret_cast<const uint32_t*>(tile + block * 128);
      low = words[row] ^ 0x80808080u;  // code + 128, as a number with a sign
      high = words[kTileRows + row] ^ 0x80808080u;
    } else {
      const uint32_t word = reinterpret_cast<const uint32_t*>(tile + block * 64)[row];
      low = word & 0x0f0f0f0fu;
      high = word >> 4 & 0x0f0f0f0fu;
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int* x = reinterpret_cast<const int*>(inputs[r] + segment.codes + b * 8);
      totals[r] = __dp4a(static_cast<int>(low), x[0], totals[r]);
      totals[r] = __dp4a(static_cast<int>(high), x[1], totals[r]);
    }
  }
}

template <Codes kCodes, int kRows>
__global__ void ProductCodedKernel(CodedProduct args, LaneList lanes, Grouping groups) {
  const BlockRows rows = RowsOfBlock(groups, args.product.num_rows, kRows);
  if (!rows.there) return;
  int* shared = SharedMemory<int>();  // [kWarps][kRows][kOutputs]
  const PackedMatrix& weights = args.product.weights;
  const int warp = Thread() / 32;
  const int lane = Thread() % 32;
  const int64_t n = int64_t{blockIdx.x} * kOutputs + lane;
  // Outputs that do not exist read the last tile, which does.
  const int64_t last_tile = (weights.rows - 1) / kTileRows;
  const int64_t tile_index = n / kTileRows < last_tile ? n / kTileRows : last_tile;
  const std::byte* tile = weights.data + rows.matrix * groups.stride + tile_index * args.tile_bytes;
  const float* bias = args.product.bias;
  if (bias != nullptr) bias += rows.matrix * groups.bias_stride;
  const int8_t* inputs[kRows];
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = rows.first + r < rows.end ? rows.first + r : rows.end - 1;
    inputs[r] = args.codes + row * args.code_stride;
  }
  const int64_t row = rows.first + warp;  // whose sums this warp adds up
  const bool adds = warp < kRows && row < rows.end && n < weights.rows;
  const float* steps = args.scales + row * args.num_segments;
  const int32_t* sums = args.sums + row * args.num_segments;
  float waiting[kMaxFoldDepth];
  int depth = 0;
  float sum = 0.0f;
  int l = 0;
  auto end_lane = [&] {
    const LaneEntry entry = lanes.lanes[l++];
    for (int fold = 0; fold < entry.folds; ++fold) sum = waiting[--depth] + sum;
    if (entry.root < 0) {
      waiting[depth++] = sum;
    } else {
      float* output = args.product.output + entry.root * args.product.root_stride;
      output[row * weights.rows + n] = bias == nullptr ? sum : sum + bias[n];
    }
    sum = 0.0f;
  };
  for (int64_t begin = 0; begin < args.num_segments; begin += kWarps) {
    if (begin + warp < args.num_segments) {
      int totals[kRows] = {};
      DotSegment<kCodes, kRows>(tile, n, args.segments[begin + warp], inputs, totals);
      for (int r = 0; r < kRows; ++r) shared[(warp * kRows + r) * kOutputs + lane] = totals[r];
    }
    __syncthreads();
    for (int w = 0; adds && w < kWarps && begin + w < args.num_segments; ++w) {
      const CodedSegment segment = args.segments[begin + w];
      while (l < segment.lane) end_lane();
      const int64_t index = segment.group * kTileRows + n % kTileRows;
      const float scale = WidenScale(
          weights.dtype, reinterpret_cast<const uint16_t*>(tile + args.scale_offset)[index]);
      const float step = steps[begin + w];
      int total = shared[(w * kRows + warp) * kOutputs + lane];
      if (kCodes == Codes::kInt4) total -= 8 * sums[begin + w];
      sum = fmaf(static_cast<float>(total), scale * step, sum);
      if (kCodes == Codes::kInt4Offset) {
        const float minimum = reinterpret_cast<const float*>(tile + args.minimum_offset)[index];
        sum = fmaf(minimum, step * static_cast<float>(sums[begin + w]), sum);
      }
    }
    __syncthreads();
  }
  while (adds && l < lanes.count) end_lane();
}

template <Codes kCodes>
int LaunchProduct(const CodedProduct& args, const LaneList& lanes, const Grouping& groups,
                  CUstream_st* stream) {
  const auto columns = static_cast<unsigned>(CeilDiv(args.product.weights.rows, kOutputs));
  const int64_t rows = args.product.num_rows;
  constexpr size_t kRowBytes = kWarps * kOutputs * sizeof(int);
  if (SingleRows(groups, rows)) {
    return Launch(stream, ProductCodedKernel<kCodes, 1>,
                  dim3(columns, BlocksOfRows(groups, rows, 1)), kThreads, kRowBytes, args, lanes,
                  groups);
  }
  return Launch(stream, ProductCodedKernel<kCodes, kWarps>,
                dim3(columns, BlocksOfRows(groups, rows, kWarps)), kThreads, kWarps * kRowBytes,
                args, lanes, groups);
}

__global__ void EmbedCodedKernel(CodedTable table, const int64_t* ids, float* output) {
  const PackedMatrix& matrix = table.matrix;
  const int64_t id = ids[blockIdx.x];
  const std::byte* tile = matrix.data + id / kTileRows * table.tile_bytes;
  const int64_t row = id % kTileRows;
  for (int64_t g = 0; g < matrix.num_groups; ++g) {
    const int64_t index = g * kTileRows + row;
    const float scale = WidenScale(
        matrix.dtype, reinterpret_cast<const uint16_t*>(tile + table.scale_offset)[index]);
    const bool offset = matrix.codes == Codes::kInt4Offset;
    const float minimum =
        offset ? reinterpret_cast<const float*>(tile + table.minimum_offset)[index] : 0.0f;
    for (int64_t c = table.groups[g] + Thread(); c < table.groups[g + 1]; c += blockDim.x) {
      const int byte = static_cast<int>(tile[ByteOf(matrix.codes, row, c)]);
      int code = byte - 128;
      if (matrix.codes != Codes::kInt8) code = c % 8 < 4 ? byte & 15 : byte >> 4;
      if (matrix.codes == Codes::kInt4) code -= 8;
      const float value = static_cast<float>(code) * scale;
      output[blockIdx.x * matrix.columns + c] = offset ? value + minimum : value;
    }
  }
}

}  // namespace

int ProductCoded(const CodedProduct& args, const LaneList& lanes, const Grouping& groups,
                 CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(args.num_segments, kWarps)),
                  static_cast<unsigned>(args.product.num_rows));
  const cudaError_t error = Launch(stream, CodeRowsKernel, grid, kThreads, 0, args);
  if (error != cudaSuccess) return error;
  switch (args.product.weights.codes) {
    case Codes::kInt8:
      return LaunchProduct<Codes::kInt8>(args, lanes, groups, stream);
    case Codes::kInt4:
      return LaunchProduct<Codes::kInt4>(args, lanes, groups, stream);
    default:
      return LaunchProduct<Codes::kInt4Offset>(args, lanes, groups, stream);
  }
}

int EmbedCodedRows(const CodedTable& table, const int64_t* ids, int64_t count, float* output,
                   CUstream_st* stream) {
  return Launch(stream, EmbedCodedKernel, dim3(static_cast<unsigned>(count)), 128, 0, table, ids,
                output);
}

}  // namespace tessera::worker::cuda
