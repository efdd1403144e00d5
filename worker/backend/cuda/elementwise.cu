// Norms, activations, residuals, copies, and the blocks of a softmax over the vocabulary.
//
// Idea: a row (or a block of ids) to a block of threads. A sum along a row has kAccumulators
// accumulators, element i in number i % kAccumulators, folded in one tree: 16 of them is the order
// of worker/backend/cpu, 256 keep a whole block busy. Shapes: [rows, size]. Bottleneck: the memory
// of the activations, and the start of a kernel where rows are few. Measure with
// tests/bench/cuda.
#include <cuda_runtime.h>

#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"
#include "worker/backend/cuda/packed.cuh"

namespace tessera::worker::cuda {
namespace {

using shard_loader::Activation;

constexpr int kThreads = 256;

template <typename Type>
__global__ void EmbedKernel(const typename Type::Bits* table, int64_t columns, const int64_t* ids,
                            float* output) {
  const int64_t id = ids[blockIdx.x];
  const typename Type::Bits* tile = table + id / shard_loader::kTileRows * TileElements(columns);
  for (int64_t c = Thread(); c < columns; c += blockDim.x) {
    output[blockIdx.x * columns + c] =
        Type::Widen(tile[TileIndex<Type>(id % shard_loader::kTileRows, c)]);
  }
}

// The sum of (x - mean)^2, or of x, over a row; on all threads.
template <int kAccumulators, bool kSquares>
__device__ float RowSum(const float* input, int64_t size, float mean, float* shared) {
  if (Thread() < kAccumulators) {
    float sum = 0.0f;
    for (int64_t i = Thread(); i < size; i += kAccumulators) {
      if (kSquares) {
        const float x = input[i] - mean;
        sum = fmaf(x, x, sum);
      } else {
        sum = sum + input[i];
      }
    }
    shared[Thread()] = sum;
  }
  FoldShared<kAccumulators>(shared);
  const float sum = shared[0];
  __syncthreads();
  return sum;
}

template <int kAccumulators>
__global__ void NormKernel(NormArgs args) {
  float* shared = SharedMemory<float>();
  const int64_t row = blockIdx.x;
  const float* input = args.input + row * args.size;
  float* output = args.output + row * args.size;
  const int64_t weights = row % args.weight_rows * args.size;
  const float size = static_cast<float>(args.size);
  float mean = 0.0f;
  if (args.kind == shard_loader::NormKind::kLayer) {
    mean = RowSum<kAccumulators, false>(input, args.size, 0.0f, shared) / size;
  }
  float square;
  if (args.squares != nullptr) {
    square = args.squares[row / args.weight_rows] / static_cast<float>(args.sum_size);
  } else {
    square = RowSum<kAccumulators, true>(input, args.size, mean, shared) / size;
  }
  const float scale = 1.0f / sqrtf(square + args.epsilon);
  for (int64_t i = Thread(); i < args.size; i += blockDim.x) {
    float x = (input[i] - mean) * scale;
    if (args.weight != nullptr) x = args.weight[weights + i] * x;
    if (args.bias != nullptr) x = x + args.bias[weights + i];
    output[i] = x;
  }
}

template <int kAccumulators>
__global__ void SquareSumsKernel(const float* input, int64_t size, float* output) {
  const float sum =
      RowSum<kAccumulators, true>(input + blockIdx.x * size, size, 0.0f, SharedMemory<float>());
  if (Thread() == 0) output[blockIdx.x] = sum;
}

__device__ float Activated(Activation activation, float x) {
  const float half = 0.5f * x;
  switch (activation) {
    case Activation::kSilu:
      return x / (1.0f + Exp(0.0f - x));
    case Activation::kGelu:
      return half * (1.0f + Erf(x * 0.70710678118654752f));
    case Activation::kGeluTanh: {
      const float cube = x * x * x;
      const float inner = 0.79788456080286536f * fmaf(0.044715f, cube, x);
      return half * (1.0f + Tanh(inner));
    }
    case Activation::kQuickGelu:
    case Activation::kClampedSwiglu:
      return x / (1.0f + Exp(-1.702f * x));
    case Activation::kRelu:
      return Larger(0.0f, x);  // in this order NaN passes
    case Activation::kRelu2: {
      const float positive = Larger(0.0f, x);
      return positive * positive;
    }
  }
  return x;
}

__global__ void ActivateKernel(ActivationArgs args) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= args.size) return;
  const bool clamped = args.activation == Activation::kClampedSwiglu;
  float gate = args.gate[i];
  if (clamped) gate = Smaller(args.limit, gate);
  float x = Activated(args.activation, gate);
  if (args.up != nullptr) {
    float up = args.up[i];
    if (clamped) {
      up = Smaller(args.limit, up);
      up = Larger(-args.limit, up) + 1.0f;
    }
    x = x * up;
  }
  args.gate[i] = x;
}

__global__ void AddToResidualKernel(ResidualArgs args) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= args.num_rows * args.size) return;
  float x = args.sum[i];
  if (args.bias != nullptr) x = x + args.bias[i % args.size];
  x = args.scale * x;
  args.residual[i] = args.residual[i] + x;
}

__global__ void AddWeightedRowsKernel(WeightedRowsArgs args) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (index >= args.count * args.size) return;
  const int64_t part = index / args.size;
  const int64_t i = index % args.size;
  float* output = args.output + args.rows[part] * args.size;
  output[i] = fmaf(args.weights[part], args.input[part * args.input_stride + i], output[i]);
}

__global__ void ScaleAndCapKernel(float scale, float cap, int64_t size, float* data) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= size) return;
  float x = scale * data[i];
  if (cap > 0.0f) x = cap * Tanh(x / cap);
  data[i] = x;
}

// 16 accumulators, like the maxima: ids i % 16 of the block.
__global__ void SoftmaxBlockKernel(SoftmaxBlocksArgs args) {
  float* shared = SharedMemory<float>();
  args.input += blockIdx.y * args.size;
  args.maxima += int64_t{blockIdx.y} * gridDim.x;
  args.sums += int64_t{blockIdx.y} * gridDim.x;
  if (args.exponentials != nullptr) args.exponentials += blockIdx.y * args.size;
  const int64_t begin = blockIdx.x * args.block;
  const int64_t end = begin + args.block < args.size ? begin + args.block : args.size;
  const float lowest = LowestFloat();
  float maximum = lowest;
  for (int64_t i = begin + Thread(); i < end; i += blockDim.x) {
    maximum = Larger(args.input[i], maximum);
  }
  shared[Thread()] = maximum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (Thread() < half) {
      shared[Thread()] = Larger(shared[Thread()], shared[Thread() + half]);
    }
  }
  __syncthreads();
  maximum = shared[0];
  __syncthreads();
  const float offset = maximum == lowest ? 0.0f : maximum;
  if (args.exponentials != nullptr) {
    for (int64_t i = begin + Thread(); i < end; i += blockDim.x) {
      args.exponentials[i] = Exp(args.input[i] - offset);
    }
  }
  if (Thread() < 16) {
    float sum = 0.0f;
    for (int64_t i = begin + Thread(); i < end; i += 16) sum = sum + Exp(args.input[i] - offset);
    shared[Thread()] = sum;
  }
  FoldShared<16>(shared);
  if (Thread() == 0) {
    args.maxima[blockIdx.x] = maximum;
    args.sums[blockIdx.x] = shared[0];
  }
}

__global__ void CopyRowsKernel(CopyRowsArgs args) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (index >= args.num_rows * args.size) return;
  const int64_t row = index / args.size;
  const int64_t i = index % args.size;
  const int64_t from = args.from_rows == nullptr ? row / args.from_repeat : args.from_rows[row];
  const int64_t to = args.to_rows == nullptr ? row : args.to_rows[row];
  args.to[to * args.to_stride + i] = args.from[from * args.from_stride + i];
}

struct TreeList {
  int count;
  const float* roots[kMaxTreeRoots];
  int8_t folds[kMaxTreeRoots];
};

__global__ void AddTreeKernel(TreeList tree, int64_t size, float* output) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= size) return;
  float waiting[kMaxFoldDepth];
  int depth = 0;
  for (int r = 0; r < tree.count; ++r) {
    float sum = tree.roots[r][i];
    for (int fold = 0; fold < tree.folds[r]; ++fold) sum = waiting[--depth] + sum;
    waiting[depth++] = sum;
  }
  output[i] = waiting[0];
}

dim3 Blocks(int64_t elements) { return dim3(static_cast<unsigned>(CeilDiv(elements, kThreads))); }

}  // namespace

int EmbedRows(const PackedMatrix& table, const int64_t* ids, int64_t count, float* output,
              CUstream_st* stream) {
  return WithType(table.dtype, [&](auto type) {
    using Type = decltype(type);
    return Launch(stream, EmbedKernel<Type>, dim3(static_cast<unsigned>(count)), kThreads, 0,
                  reinterpret_cast<const typename Type::Bits*>(table.data), table.columns, ids,
                  output);
  });
}

int Norm(const NormArgs& args, Order order, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(args.num_rows));
  const size_t shared = kThreads * sizeof(float);
  return order == Order::kFma16 ? Launch(stream, NormKernel<16>, grid, kThreads, shared, args)
                                : Launch(stream, NormKernel<256>, grid, kThreads, shared, args);
}

int SquareSums(const float* input, int64_t num_rows, int64_t size, float* output, Order order,
               CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(num_rows));
  const size_t shared = kThreads * sizeof(float);
  return order == Order::kFma16
             ? Launch(stream, SquareSumsKernel<16>, grid, kThreads, shared, input, size, output)
             : Launch(stream, SquareSumsKernel<256>, grid, kThreads, shared, input, size, output);
}

int Activate(const ActivationArgs& args, CUstream_st* stream) {
  return Launch(stream, ActivateKernel, Blocks(args.size), kThreads, 0, args);
}

int AddToResidual(const ResidualArgs& args, CUstream_st* stream) {
  return Launch(stream, AddToResidualKernel, Blocks(args.num_rows * args.size), kThreads, 0, args);
}

int AddWeightedRows(const WeightedRowsArgs& args, CUstream_st* stream) {
  return Launch(stream, AddWeightedRowsKernel, Blocks(args.count * args.size), kThreads, 0, args);
}

int ScaleAndCap(float scale, float cap, int64_t size, float* data, CUstream_st* stream) {
  return Launch(stream, ScaleAndCapKernel, Blocks(size), kThreads, 0, scale, cap, size, data);
}

int SoftmaxBlocks(const SoftmaxBlocksArgs& args, CUstream_st* stream) {
  return SoftmaxBlocksOfRows(args, 1, stream);
}

int SoftmaxBlocksOfRows(const SoftmaxBlocksArgs& args, int64_t num_rows, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(args.size, args.block)),
                  static_cast<unsigned>(num_rows));
  return Launch(stream, SoftmaxBlockKernel, grid, kThreads, kThreads * sizeof(float), args);
}

int CopyRows(const CopyRowsArgs& args, CUstream_st* stream) {
  return Launch(stream, CopyRowsKernel, Blocks(args.num_rows * args.size), kThreads, 0, args);
}

int AddTree(const AddTreeArgs& args, CUstream_st* stream) {
  TreeList tree = {};
  tree.count = args.num_roots;
  for (int r = 0; r < args.num_roots; ++r) {
    tree.roots[r] = args.roots[r];
    tree.folds[r] = static_cast<int8_t>(args.folds[r]);
  }
  return Launch(stream, AddTreeKernel, Blocks(args.size), kThreads, 0, tree, args.size,
                args.output);
}

}  // namespace tessera::worker::cuda
