// Products of 16-bit weights by mma.sync.m16n8k16: the weights are its left operand (16 of their
// rows), the narrowed inputs its right one (8 rows of the batch).
//
// Order: an output of a lane has one fp32 accumulator from zero; the instruction adds 16 columns at
// a time, from the lane's first column on, the last 16 padded with zeros on both sides. The kernel
// for few rows and the one for many do this with the same instruction on the same operands; they
// differ in which warp holds which output only. Lanes then meet along the tree.
//
// Few rows (up to 64): a warp takes a lane of 16 weight rows, straight out of memory, 256
// neighbouring bytes at a time; bottleneck: the bandwidth of the weights. Many rows: blocks of 128
// weight rows x 128 batch rows, through shared memory in three stages; bottleneck: the tensor
// cores. Measure with tests/bench/cuda.
#include <cuda_runtime.h>

#include "worker/backend/cuda/grouping.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"
#include "worker/backend/cuda/packed.cuh"
#include "worker/backend/cuda/product_table.h"

namespace tessera::worker::cuda {
namespace {

using shard_loader::kTileRows;

constexpr int kNarrowThreads = 256;
constexpr int kStep = 16;  // columns of one instruction

template <typename Type>
__global__ void NarrowKernel(const float* input, int64_t columns, int64_t stride, int64_t num_rows,
                             uint16_t* output) {
  const int64_t index = (int64_t{blockIdx.x} * blockDim.x + Thread()) * 2;
  if (index >= num_rows * stride) return;
  const int64_t row = index / stride;
  const int64_t c = index % stride;
  const float first = c < columns ? input[row * columns + c] : 0.0f;
  const float second = c + 1 < columns ? input[row * columns + c + 1] : 0.0f;
  *reinterpret_cast<uint32_t*>(output + index) = NarrowPair<Type>(first, second);
}

struct MmaArgs {
  const uint16_t* inputs = nullptr;  // [num_rows, stride], narrowed
  int64_t stride = 0;
  int64_t num_rows = 0;
  const uint16_t* weights = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  const float* bias = nullptr;
  float* output = nullptr;
  int64_t root_stride = 0;
};

// Clears what lies beyond the lane: element 0 of a pair is column k, element 1 is k + 1.
__device__ __forceinline__ uint32_t Within(uint32_t pair, int64_t k, int64_t begin, int64_t end) {
  const uint32_t low = k >= begin && k < end ? 0x0000ffffu : 0u;
  const uint32_t high = k + 1 >= begin && k + 1 < end ? 0xffff0000u : 0u;
  return pair & (low | high);
}

// The operands of 16 columns from `k` (even). Whole: all of them belong to the lane.
template <typename Type, bool kWhole>
__device__ __forceinline__ void LoadWeights(const uint16_t* tile, int64_t k, const LaneEntry& lane,
                                            int g, int t, uint32_t (&a)[4]) {
  const int64_t near = k + 2 * t;
  if (kWhole) {
    LoadPair(Type(), tile, near / 2, g, &a[0], &a[1]);
    LoadPair(Type(), tile, near / 2 + 4, g, &a[2], &a[3]);
    return;
  }
  a[0] = a[1] = a[2] = a[3] = 0;
  if (near < lane.end) LoadPair(Type(), tile, near / 2, g, &a[0], &a[1]);
  if (near + 8 < lane.end) LoadPair(Type(), tile, near / 2 + 4, g, &a[2], &a[3]);
  a[0] = Within(a[0], near, lane.begin, lane.end);
  a[1] = Within(a[1], near, lane.begin, lane.end);
  a[2] = Within(a[2], near + 8, lane.begin, lane.end);
  a[3] = Within(a[3], near + 8, lane.begin, lane.end);
}

template <bool kWhole>
__device__ __forceinline__ void LoadInput(const uint16_t* row, int64_t k, const LaneEntry& lane,
                                          int t, uint32_t* b0, uint32_t* b1) {
  const int64_t near = k + 2 * t;
  if (kWhole) {
    *b0 = *reinterpret_cast<const uint32_t*>(row + near);
    *b1 = *reinterpret_cast<const uint32_t*>(row + near + 8);
    return;
  }
  *b0 = near < lane.end ? *reinterpret_cast<const uint32_t*>(row + near) : 0u;
  *b1 = near + 8 < lane.end ? *reinterpret_cast<const uint32_t*>(row + near + 8) : 0u;
  *b0 = Within(*b0, near, lane.begin, lane.end);
  *b1 = Within(*b1, near + 8, lane.begin, lane.end);
}

// One lane of 16 weight rows and 8 kTiles rows of the block. An odd first column begins in the
// middle of a pair: the lane then starts at the pair, with a zero in front.
template <typename Type, int kTiles>
__device__ void SumLane16(const MmaArgs& args, const uint16_t* tile, const BlockRows& block,
                          const LaneEntry& lane, float (&sums)[kTiles][4]) {
  const int g = Thread() % 32 / 4;
  const int t = Thread() % 4;
  const uint16_t* rows[kTiles];
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const int64_t row = block.first + n * 8 + g;
    rows[n] = args.inputs + (row < block.end ? row : block.end - 1) * args.stride;
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[n][i] = 0.0f;
  }
  int64_t k = lane.begin / 2 * 2;
  if (k == lane.begin) {
#pragma unroll 4
    for (; k + kStep <= lane.end; k += kStep) {
      uint32_t a[4];
      LoadWeights<Type, true>(tile, k, lane, g, t, a);
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        uint32_t b0, b1;
        LoadInput<true>(rows[n], k, lane, t, &b0, &b1);
        Type::Mma(sums[n], a, b0, b1);
      }
    }
  }
  for (; k < lane.end; k += kStep) {
    uint32_t a[4];
    LoadWeights<Type, false>(tile, k, lane, g, t, a);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      uint32_t b0, b1;
      LoadInput<false>(rows[n], k, lane, t, &b0, &b1);
      Type::Mma(sums[n], a, b0, b1);
    }
  }
}

// Weight row and batch row (of 16 and 8) of element i of a thread's sums.
__device__ __forceinline__ int WeightRow(int g, int i) { return 2 * g + i / 2; }
__device__ __forceinline__ int BatchRow(int t, int i) { return 2 * t + i % 2; }

constexpr int kFewWarps = 8;

// A block takes 16 weight rows and 8 kTiles batch rows; its warps deal the lanes out. All lanes'
// sums lie in shared memory, [lane][batch row][weight row], before they meet.
template <typename Type, int kTiles>
__global__ void FewRowsKernel(MmaArgs args, LaneList lanes, Grouping groups, int warps_per_tile) {
  constexpr int kSums = 16 * 8 * kTiles;
  const BlockRows rows = RowsOfBlock(groups, args.num_rows, 8 * kTiles);
  if (!rows.there) return;
  const int warp = Thread() / 32;
  const int tile_of_block = warp / warps_per_tile;
  const int tiles_per_block = kFewWarps / warps_per_tile;
  float* shared = SharedMemory<float>() + tile_of_block * lanes.count * kSums;
  const int64_t tile_index = int64_t{blockIdx.x} * tiles_per_block + tile_of_block;
  const bool there = tile_index * kTileRows < args.rows;
  const uint16_t* tile =
      args.weights + rows.matrix * (groups.stride / 2) + tile_index * TileElements(args.columns);
  const float* bias = args.bias == nullptr ? nullptr : args.bias + rows.matrix * groups.bias_stride;
  const int g = Thread() % 32 / 4;
  const int t = Thread() % 4;
  for (int l = warp % warps_per_tile; there && l < lanes.count; l += warps_per_tile) {
    float sums[kTiles][4];
    SumLane16<Type, kTiles>(args, tile, rows, lanes.lanes[l], sums);
    for (int n = 0; n < kTiles; ++n) {
      for (int i = 0; i < 4; ++i) {
        shared[l * kSums + (n * 8 + BatchRow(t, i)) * 16 + WeightRow(g, i)] = sums[n][i];
      }
    }
  }
  __syncthreads();
  if (!there) return;
  const int thread = Thread() % (warps_per_tile * 32);
  for (int s = thread; s < kSums; s += warps_per_tile * 32) {
    const int64_t row = rows.first + s / 16;
    const int64_t n = tile_index * kTileRows + s % 16;
    if (row >= rows.end || n >= args.rows) continue;
    float waiting[kMaxFoldDepth];
    int depth = 0;
    for (int l = 0; l < lanes.count; ++l) {
      float sum = shared[l * kSums + s];
      for (int fold = 0; fold < lanes.lanes[l].folds; ++fold) sum = waiting[--depth] + sum;
      const int root = lanes.lanes[l].root;
      if (root < 0) {
        waiting[depth++] = sum;
      } else {
        if (bias != nullptr) sum = sum + bias[n];
        args.output[root * args.root_stride + row * args.rows + n] = sum;
      }
    }
  }
}

// Many rows. A block of 8 warps takes 128 weight rows x 128 batch rows; a warp 64 x 32 of them.
constexpr int kBlockM = 128;
constexpr int kBlockN = 128;
constexpr int kBlockK = 32;  // columns of a stage
constexpr int kStages = 3;
constexpr int kManyThreads = 256;
constexpr int kWarpM = 4;                            // instructions of a warp along the weight rows
constexpr int kWarpN = 4;                            // and along the batch
constexpr int kTileStage = kTileRows * kBlockK;      // elements of a tile in a stage
constexpr int kWeightStage = kBlockM * kBlockK;      // elements
constexpr int kInputStride = kBlockK + 8;            // elements: no two rows in the same banks
constexpr int kInputStage = kBlockN * kInputStride;  // elements
constexpr size_t kManyShared = kStages * (kWeightStage + kInputStage) * sizeof(uint16_t);

// Pairs 2 and 3 of every four have their halves exchanged in shared memory, so that the lanes that
// read together meet different banks.
__device__ __forceinline__ int Swizzle(int pair) { return (pair & 2) * 8; }

__device__ __forceinline__ void LoadStaged(BF16, const uint16_t* tile, int pair, int g,
                                           uint32_t* even_row, uint32_t* odd_row) {
  const uint2 words = *reinterpret_cast<const uint2*>(tile + pair * 32 + (g * 4 ^ Swizzle(pair)));
  *even_row = words.x;
  *odd_row = words.y;
}
__device__ __forceinline__ void LoadStaged(F16, const uint16_t* tile, int pair, int g,
                                           uint32_t* even_row, uint32_t* odd_row) {
  const uint16_t* words = tile + pair * 32 + (g * 2 ^ Swizzle(pair));
  const uint32_t first = *reinterpret_cast<const uint32_t*>(words);
  words = tile + pair * 32 + ((16 + g * 2) ^ Swizzle(pair));
  const uint32_t second = *reinterpret_cast<const uint32_t*>(words);
  *even_row = __byte_perm(first, second, 0x5410);
  *odd_row = __byte_perm(first, second, 0x7632);
}

// Sets out to copy kBlockK columns from `k`, a multiple of 8: of 8 tiles as they lie in memory, and
// of 128 rows of the inputs.
__device__ __forceinline__ void StartStage(const MmaArgs& args, int64_t tile0, int64_t row0,
                                           int64_t k, uint16_t* weights, uint16_t* inputs) {
  constexpr int kTileChunks = kTileStage / 8;
  for (int i = Thread(); i < kBlockM / 16 * kTileChunks; i += kManyThreads) {
    const int64_t tile = tile0 + i / kTileChunks;
    const int chunk = i % kTileChunks;
    const int64_t element = k * kTileRows + chunk * 8;
    const bool there = tile * kTileRows < args.rows && element < TileElements(args.columns);
    const uint16_t* from = args.weights;
    if (there) from += tile * TileElements(args.columns) + element;
    const int pair = chunk / 4;
    CopyAsync(weights + i / kTileChunks * kTileStage + pair * 32 + (chunk % 4 * 8 ^ Swizzle(pair)),
              from, there);
  }
  constexpr int kRowChunks = kBlockK / 8;
  for (int i = Thread(); i < kBlockN * kRowChunks; i += kManyThreads) {
    const int64_t row = row0 + i / kRowChunks;
    const int64_t c = k + i % kRowChunks * 8;
    const bool there = row < args.num_rows && c < args.stride;
    const uint16_t* from = args.inputs;
    if (there) from += row * args.stride + c;
    CopyAsync(inputs + i / kRowChunks * kInputStride + i % kRowChunks * 8, from, there);
  }
}

// The stages of all lanes, one after the other.
struct StageWalk {
  int lane = 0;
  int64_t k = 0;
  __device__ explicit StageWalk(const LaneList& lanes) : k(lanes.lanes[0].begin) {}
  // Whether the lane ends with this stage.
  __device__ bool Last(const LaneList& lanes) const { return k + kBlockK >= lanes.lanes[lane].end; }
  __device__ void Next(const LaneList& lanes) {
    if (!Last(lanes)) {
      k += kBlockK;
    } else if (++lane < lanes.count) {
      k = lanes.lanes[lane].begin;
    }
  }
};

struct WarpSums {
  float v[kWarpM][kWarpN][4];
};

template <typename Type>
__device__ __forceinline__ void AddStage(const uint16_t* weights, const uint16_t* inputs, int64_t k,
                                         const LaneEntry& lane, WarpSums* sums) {
  const int g = Thread() % 32 / 4;
  const int t = Thread() % 4;
#pragma unroll
  for (int step = 0; step < kBlockK; step += kStep) {
    if (k + step >= lane.end) break;
    const bool whole = k + step + kStep <= lane.end;
    const int64_t near = k + step + 2 * t;
    uint32_t b[kWarpN / 2][4];  // of two instructions each
#pragma unroll
    for (int n = 0; n < kWarpN / 2; ++n) {
      const int matrix = Thread() % 32 / 8;
      const int row = (n * 2 + matrix / 2) * 8 + Thread() % 8;
      LoadMatrices(b[n], inputs + row * kInputStride + step + matrix % 2 * 8);
      if (!whole) {
        for (int i = 0; i < 4; ++i)
          b[n][i] = Within(b[n][i], near + i % 2 * 8, lane.begin, lane.end);
      }
    }
#pragma unroll
    for (int m = 0; m < kWarpM; ++m) {
      const uint16_t* tile = weights + m * kTileStage;
      uint32_t a[4];
      LoadStaged(Type(), tile, step / 2 + t, g, &a[0], &a[1]);
      LoadStaged(Type(), tile, step / 2 + t + 4, g, &a[2], &a[3]);
      if (!whole) {
        for (int i = 0; i < 4; ++i) a[i] = Within(a[i], near + i / 2 * 8, lane.begin, lane.end);
      }
#pragma unroll
      for (int n = 0; n < kWarpN; ++n) {
        Type::Mma(sums->v[m][n], a, b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
      }
    }
  }
}

__device__ __forceinline__ void StoreSums(const MmaArgs& args, const WarpSums& sums, int root,
                                          int64_t first_n, int64_t first_row) {
  const int g = Thread() % 32 / 4;
  const int t = Thread() % 4;
#pragma unroll
  for (int m = 0; m < kWarpM; ++m) {
#pragma unroll
    for (int j = 0; j < kWarpN; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t n = first_n + m * 16 + WeightRow(g, i);
        const int64_t row = first_row + j * 8 + BatchRow(t, i);
        if (n >= args.rows || row >= args.num_rows) continue;
        float sum = sums.v[m][j][i];
        if (args.bias != nullptr) sum = sum + args.bias[n];
        args.output[root * args.root_stride + row * args.rows + n] = sum;
      }
    }
  }
}

template <typename Body>
__device__ __forceinline__ void ForEverySum(WarpSums* sums, const Body& body) {
#pragma unroll
  for (int m = 0; m < kWarpM; ++m) {
#pragma unroll
    for (int n = 0; n < kWarpN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) body(&sums->v[m][n][i], m, n, i);
    }
  }
}

template <typename Type>
__global__ void __launch_bounds__(kManyThreads)
    ManyRowsKernel(MmaArgs args, LaneList lanes, int num_stages) {
  uint16_t* weights = SharedMemory<uint16_t>();
  uint16_t* inputs = weights + kStages * kWeightStage;
  const int warp = Thread() / 32;
  const int warp_m = warp % 2;
  const int warp_n = warp / 2;
  const int64_t row0 = int64_t{blockIdx.x} * kBlockN;
  const int64_t tile0 = int64_t{blockIdx.y} * (kBlockM / 16);

  StageWalk ahead(lanes);
  int started = 0;
  for (; started < kStages - 1; ++started) {
    if (started < num_stages) {
      StartStage(args, tile0, row0, ahead.k, weights + started * kWeightStage,
                 inputs + started * kInputStage);
      ahead.Next(lanes);
    }
    CommitCopies();
  }
  StageWalk at(lanes);
  WarpSums sums = {};
  WarpSums waiting[kMaxFoldDepth];
  int depth = 0;
  for (int stage = 0; stage < num_stages; ++stage, ++started) {
    WaitCopies<kStages - 2>();
    __syncthreads();  // the stage is there for all, and the one before it is read by all
    if (started < num_stages) {
      StartStage(args, tile0, row0, ahead.k, weights + started % kStages * kWeightStage,
                 inputs + started % kStages * kInputStage);
      ahead.Next(lanes);
    }
    CommitCopies();
    const LaneEntry& lane = lanes.lanes[at.lane];
    AddStage<Type>(weights + stage % kStages * kWeightStage + warp_m * kWarpM * kTileStage,
                   inputs + stage % kStages * kInputStage + warp_n * kWarpN * 8 * kInputStride,
                   at.k, lane, &sums);
    if (at.Last(lanes)) {
      for (int fold = 0; fold < lane.folds; ++fold) {
        --depth;
        ForEverySum(&sums, [&](float* sum, int m, int n, int i) {
          *sum = waiting[depth].v[m][n][i] + *sum;
        });
      }
      if (lane.root < 0) {
        waiting[depth++] = sums;
      } else {
        StoreSums(args, sums, lane.root, tile0 * 16 + warp_m * kWarpM * 16,
                  row0 + warp_n * kWarpN * 8);
      }
      ForEverySum(&sums, [](float* sum, int, int, int) { *sum = 0.0f; });
    }
    at.Next(lanes);
  }
}

template <typename Type, int kTiles>
int LaunchFew(const MmaArgs& args, const LaneList& lanes, const Grouping& groups,
              CUstream_st* stream) {
  int warps_per_tile = 1;
  while (warps_per_tile < kFewWarps && warps_per_tile < lanes.count) warps_per_tile *= 2;
  size_t shared = 0;
  for (;; warps_per_tile *= 2) {  // fewer tiles to a block where their sums take too much room
    shared = size_t{kFewWarps} / warps_per_tile * lanes.count * 16 * 8 * kTiles * sizeof(float);
    if (shared <= (size_t{96} << 10) || warps_per_tile == kFewWarps) break;
  }
  const int tiles_per_block = kFewWarps / warps_per_tile;
  const dim3 grid(static_cast<unsigned>(CeilDiv(CeilDiv(args.rows, kTileRows), tiles_per_block)),
                  BlocksOfRows(groups, args.num_rows, 8 * kTiles));
  return Launch(stream, FewRowsKernel<Type, kTiles>, grid, kFewWarps * 32, shared, args, lanes,
                groups, warps_per_tile);
}

template <typename Type>
int LaunchMma(const MmaArgs& args, const LaneList& lanes, const Grouping& groups,
              CUstream_st* stream) {
  switch (groups.tiles == nullptr ? TilingOf(args.num_rows, lanes)
                                  : GroupTilingOf(groups.tile_rows)) {
    case MmaTiling::kFew8:
      return LaunchFew<Type, 1>(args, lanes, groups, stream);
    case MmaTiling::kFew16:
      return LaunchFew<Type, 2>(args, lanes, groups, stream);
    case MmaTiling::kFew32:
      return LaunchFew<Type, 4>(args, lanes, groups, stream);
    case MmaTiling::kMany:
      break;
  }
  int num_stages = 0;
  for (int l = 0; l < lanes.count; ++l) {
    num_stages += static_cast<int>(CeilDiv(lanes.lanes[l].end - lanes.lanes[l].begin, kBlockK));
  }
  const dim3 grid(static_cast<unsigned>(CeilDiv(args.num_rows, kBlockN)),
                  static_cast<unsigned>(CeilDiv(args.rows, kBlockM)));
  return Launch(stream, ManyRowsKernel<Type>, grid, kManyThreads, kManyShared, args, lanes,
                num_stages);
}

}  // namespace

int ProductMma(const ProductArgs& args, const LaneList& lanes, const Grouping& groups,
               void* narrowed, CUstream_st* stream) {
  MmaArgs mma;
  mma.inputs = static_cast<const uint16_t*>(narrowed);
  mma.stride = NarrowedStride(args.weights.columns);
  mma.num_rows = args.num_rows;
  mma.weights = reinterpret_cast<const uint16_t*>(args.weights.data);
  mma.rows = args.weights.rows;
  mma.columns = args.weights.columns;
  mma.bias = args.bias;
  mma.output = args.output;
  mma.root_stride = args.root_stride;
  const dim3 grid(static_cast<unsigned>(CeilDiv(args.num_rows * mma.stride / 2, kNarrowThreads)));
  auto run = [&](auto type) -> int {
    using Type = decltype(type);
    const int error =
        Launch(stream, NarrowKernel<Type>, grid, kNarrowThreads, 0, args.input,
               args.weights.columns, mma.stride, args.num_rows, static_cast<uint16_t*>(narrowed));
    return error != 0 ? error : LaunchMma<Type>(mma, lanes, groups, stream);
  };
  return args.weights.dtype == shard_loader::DType::kF16 ? run(F16()) : run(BF16());
}

}  // namespace tessera::worker::cuda
