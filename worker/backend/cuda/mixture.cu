// Mixtures of experts: worker/model's router.cc and experts.cc where the rows lie.
//
// Idea: a warp chooses a row's experts, in double, its lanes sharing the experts out; one block
// then sorts the pairs of a row and one of its experts by expert, so that a product takes each
// expert's rows together (grouping.cuh), and an element of a row's sums is one thread's, which
// walks over the row's experts. Bottleneck: the products between; of these kernels, the copies of
// rows, which memory bounds. Measure with tests/bench/cuda.
#include <cuda_runtime.h>

#include "worker/backend/cuda/grouping.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"
#include "worker/backend/cuda/scalar_math.cuh"

namespace tessera::worker::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 256;

__device__ __forceinline__ double LowestDouble() { return -InfiniteDouble(); }

__device__ __forceinline__ double ExactSigmoid(double x) { return 1 / (1 + ExactExp(-x)); }

// What a warp chooses from, in shared memory.
struct RouteMemory {
  double* scores;  // [experts]
  double* ranked;  // [experts]
  double* groups;  // [num_groups]
  int32_t* ids;    // [at most the chosen of either]
  uint8_t* taken;  // [experts], or [groups]
};

constexpr int64_t RouteBytes(int64_t experts, int64_t num_groups, int64_t chosen) {
  return (2 * experts + num_groups) * 8 + chosen * 4 +
         (experts > num_groups ? experts : num_groups);
}

// Whether (a, i) comes before (b, j): the larger value, then the lower id.
__device__ __forceinline__ bool Before(double a, int i, double b, int j) {
  return a > b || (a == b && i < j);
}

// The id of the largest value that is not taken, ties to the lower id: what a walk over ascending
// ids finds that keeps the first until a larger one comes. So a NaN is found where it is the first,
// and passed over elsewhere. The same on all lanes.
__device__ int TakeLargest(const double* values, int count, uint8_t* taken) {
  int first = count;
  for (int id = Thread(); id < count && first == count; id += kWarp) {
    if (taken[id] == 0) first = id;
  }
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const int other = __shfl_xor_sync(0xffffffffu, first, distance);
    first = other < first ? other : first;
  }
  double best = values[first];
  int best_id = first;
  if (best == best) {
    for (int id = Thread(); id < count; id += kWarp) {
      if (taken[id] != 0 || values[id] != values[id]) continue;
      if (Before(values[id], id, best, best_id)) {
        best = values[id];
        best_id = id;
      }
    }
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      const double other = __shfl_xor_sync(0xffffffffu, best, distance);
      const int other_id = __shfl_xor_sync(0xffffffffu, best_id, distance);
      if (Before(other, other_id, best, best_id)) {
        best = other;
        best_id = other_id;
      }
    }
  }
  __syncthreads();  // all lanes have read what is taken
  if (Thread() == 0) taken[best_id] = 1;
  __syncthreads();
  return best_id;
}

__device__ void ClearTaken(int count, uint8_t* taken) {
  for (int i = Thread(); i < count; i += kWarp) taken[i] = 0;
  __syncthreads();
}

__device__ void FillScores(const RouteKernelArgs& args, const float* logits, double* scores) {
  if (args.sigmoid) {
    for (int i = Thread(); i < args.experts; i += kWarp) scores[i] = ExactSigmoid(logits[i]);
    __syncthreads();
    return;
  }
  double maximum = LowestDouble();
  for (int i = 0; i < args.experts; ++i) {
    const double score = logits[i];
    if (maximum < score) maximum = score;
  }
  for (int i = Thread(); i < args.experts; i += kWarp) scores[i] = ExactExp(logits[i] - maximum);
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < args.experts; ++i) sum = sum + scores[i];
  __syncthreads();
  for (int i = Thread(); i < args.experts; i += kWarp) scores[i] = scores[i] / sum;
  __syncthreads();
}

// Ranks outside of the best groups become the lowest number.
__device__ void KeepBestGroups(const RouteKernelArgs& args, const RouteMemory& memory) {
  const int size = args.experts / args.num_groups;
  for (int group = Thread(); group < args.num_groups; group += kWarp) {
    double first = LowestDouble();
    double second = LowestDouble();
    for (int i = group * size; i < (group + 1) * size; ++i) {
      const double rank = memory.ranked[i];
      if (rank > first) {
        second = first;
        first = rank;
      } else if (rank > second) {
        second = rank;
      }
    }
    memory.groups[group] = args.group_by_two && size > 1 ? first + second : first;
  }
  ClearTaken(args.num_groups, memory.taken);
  for (int i = 0; i < args.groups_per_token; ++i) {
    TakeLargest(memory.groups, args.num_groups, memory.taken);
  }
  for (int i = Thread(); i < args.num_groups * size; i += kWarp) {
    if (memory.taken[i / size] == 0) memory.ranked[i] = LowestDouble();
  }
  __syncthreads();
}

__global__ void RouteKernel(RouteKernelArgs args) {
  RouteMemory memory;
  memory.scores = SharedMemory<double>();
  memory.ranked = memory.scores + args.experts;
  memory.groups = memory.ranked + args.experts;
  memory.ids = reinterpret_cast<int32_t*>(memory.groups + args.num_groups);
  memory.taken = reinterpret_cast<uint8_t*>(memory.ids + args.per_token);
  const float* logits = args.logits + int64_t{blockIdx.x} * args.experts;
  Choice* choices = args.choices + int64_t{blockIdx.x} * args.per_token;
  bool is_number = true;
  for (int i = 0; i < args.experts; ++i) is_number = is_number && logits[i] == logits[i];
  if (!is_number) {
    for (int i = Thread(); i < args.per_token; i += kWarp) {
      choices[i] = {i, __uint_as_float(0x7fc00000u)};
    }
    return;
  }
  FillScores(args, logits, memory.scores);
  for (int i = Thread(); i < args.experts; i += kWarp) {
    const double score = memory.scores[i];
    memory.ranked[i] = args.correction == nullptr ? score : score + double{args.correction[i]};
  }
  __syncthreads();
  if (args.num_groups > 1) KeepBestGroups(args, memory);
  ClearTaken(args.experts, memory.taken);
  for (int i = 0; i < args.per_token; ++i) {
    const int id = TakeLargest(memory.ranked, args.experts, memory.taken);
    int place = 0;  // the chosen stay ascending
    for (int j = 0; j < i; ++j) place += memory.ids[j] < id ? 1 : 0;
    __syncthreads();
    if (Thread() == 0) {
      for (int j = i; j > place; --j) memory.ids[j] = memory.ids[j - 1];
      memory.ids[place] = id;
    }
    __syncthreads();
  }
  double sum = 0;
  for (int i = 0; i < args.per_token; ++i) sum = sum + memory.scores[memory.ids[i]];
  const double scale = double{args.routed_scale} / (args.renormalise ? sum : 1.0);
  for (int i = Thread(); i < args.per_token; i += kWarp) {
    const int id = memory.ids[i];
    choices[i] = {id, static_cast<float>(memory.scores[id] * scale)};
  }
}

constexpr int kGroupThreads = 1024;

// One block. A warp counts and lists the pairs of an expert, 32 choices at a time.
__global__ void __launch_bounds__(kGroupThreads) GroupRowsKernel(GroupRowsArgs args) {
  int* counts = SharedMemory<int>();                  // [num_experts]
  int* first_pairs = counts + args.num_experts;       // likewise
  int* first_tiles = first_pairs + args.num_experts;  // likewise
  const int choices = static_cast<int>(args.num_rows) * args.per_token;
  const int warp = Thread() / kWarp;
  const int lane = Thread() % kWarp;
  constexpr int kWarps = kGroupThreads / kWarp;
  for (int c = Thread(); c < choices; c += kGroupThreads) args.pair_of[c] = -1;
  for (int e = warp; e < args.num_experts; e += kWarps) {
    int count = 0;
    for (int c = lane; c - lane < choices; c += kWarp) {
      const bool here = c < choices && args.choices[c].expert == args.first_expert + e;
      count += __popc(__ballot_sync(0xffffffffu, here));
    }
    if (lane == 0) counts[e] = count;
  }
  __syncthreads();
  for (int e = Thread(); e < args.num_experts; e += kGroupThreads) {
    int pairs = 0;
    int tiles = 0;
    for (int i = 0; i < e; ++i) {
      pairs += counts[i];
      tiles += (counts[i] + args.tile_rows - 1) / args.tile_rows;
    }
    first_pairs[e] = pairs;
    first_tiles[e] = tiles;
    if (e + 1 == args.num_experts) {
      *args.num_tiles = tiles + (counts[e] + args.tile_rows - 1) / args.tile_rows;
    }
  }
  __syncthreads();
  for (int e = warp; e < args.num_experts; e += kWarps) {
    for (int t = lane; t * args.tile_rows < counts[e]; t += kWarp) {
      const int left = counts[e] - t * args.tile_rows;
      args.tiles[first_tiles[e] + t] = {e, first_pairs[e] + t * args.tile_rows,
                                        left < args.tile_rows ? left : args.tile_rows};
    }
    int next = first_pairs[e];
    for (int c = lane; c - lane < choices; c += kWarp) {
      const bool here = c < choices && args.choices[c].expert == args.first_expert + e;
      const unsigned all = __ballot_sync(0xffffffffu, here);
      if (here) {
        const int pair = next + __popc(all & ((1u << lane) - 1));
        args.pair_of[c] = pair;
        args.pair_rows[pair] = c / args.per_token;
      }
      next += __popc(all);
    }
  }
}

__global__ void GatherPairsKernel(Grouping groups, const int32_t* pair_rows, const float* input,
                                  int64_t size, float* output) {
  if (static_cast<int64_t>(blockIdx.y) >= *groups.num_tiles) return;
  const GroupTile tile = groups.tiles[blockIdx.y];
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= size) return;
  for (int pair = tile.first; pair < tile.first + tile.count; ++pair) {
    output[pair * size + i] = input[pair_rows[pair] * size + i];
  }
}

__global__ void AddPairsKernel(AddPairsArgs args) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= args.size) return;
  const int64_t row = blockIdx.y;
  const int32_t s = static_cast<int32_t>(blockIdx.z);
  float sum = 0.0f;
  for (int c = 0; c < args.per_token; ++c) {
    const int64_t index = row * args.per_token + c;
    const int32_t pair = args.pair_of[index];
    if (pair < 0) continue;
    const Choice choice = args.choices[index];
    const bool listed = args.sum_of != nullptr;
    if (listed && args.sum_of[choice.expert - args.first_expert] != s) continue;
    const float* part = args.parts + (listed ? 0 : s * args.part_stride);
    sum = fmaf(choice.weight, part[pair * args.size + i], sum);
  }
  args.sums[s * args.sum_stride + row * args.size + i] = sum;
}

__global__ void AddChosenBiasesKernel(const Choice* choices, int32_t per_token, const float* bias,
                                      int64_t size, float* output) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= size) return;
  const int64_t row = blockIdx.y;
  float sum = output[row * size + i];
  for (int c = 0; c < per_token; ++c) {
    const Choice choice = choices[row * per_token + c];
    sum = fmaf(choice.weight, bias[choice.expert * size + i], sum);
  }
  output[row * size + i] = sum;
}

__global__ void AddGatedRowsKernel(const float* gates, const float* input, int64_t size,
                                   float* output) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + Thread();
  if (i >= size) return;
  const int64_t row = blockIdx.y;
  const float gate = static_cast<float>(ExactSigmoid(gates[row]));
  output[row * size + i] = fmaf(gate, input[row * size + i], output[row * size + i]);
}

// Rows are a grid's second dimension, of which there are 65,535 at most.
constexpr int64_t kMostGridRows = 32768;

template <typename Body>
int ForRows(int64_t num_rows, const Body& body) {
  for (int64_t row = 0; row < num_rows; row += kMostGridRows) {
    const int64_t count = num_rows - row < kMostGridRows ? num_rows - row : kMostGridRows;
    const int error = body(row, static_cast<unsigned>(count));
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

unsigned Columns(int64_t size) { return static_cast<unsigned>(CeilDiv(size, kThreads)); }

}  // namespace

int RouteRows(const RouteKernelArgs& args, CUstream_st* stream) {
  const int64_t bytes = RouteBytes(args.experts, args.num_groups, args.per_token);
  return Launch(stream, RouteKernel, dim3(static_cast<unsigned>(args.num_rows)), kWarp,
                static_cast<size_t>(bytes), args);
}

int GroupRows(const GroupRowsArgs& args, CUstream_st* stream) {
  return Launch(stream, GroupRowsKernel, dim3(1), kGroupThreads,
                static_cast<size_t>(args.num_experts) * 3 * sizeof(int), args);
}

int GatherPairs(const Grouping& groups, const int32_t* pair_rows, const float* input, int64_t size,
                float* output, CUstream_st* stream) {
  return Launch(stream, GatherPairsKernel,
                dim3(Columns(size), static_cast<unsigned>(groups.max_tiles)), kThreads, 0, groups,
                pair_rows, input, size, output);
}

int AddPairs(const AddPairsArgs& args, CUstream_st* stream) {
  const dim3 grid(Columns(args.size), static_cast<unsigned>(args.num_rows),
                  static_cast<unsigned>(args.num_sums));
  return Launch(stream, AddPairsKernel, grid, kThreads, 0, args);
}

int AddChosenBiases(const Choice* choices, int32_t per_token, const float* bias, int64_t num_rows,
                    int64_t size, float* output, CUstream_st* stream) {
  return ForRows(num_rows, [&](int64_t row, unsigned count) -> int {
    return Launch(stream, AddChosenBiasesKernel, dim3(Columns(size), count), kThreads, 0,
                  choices + row * per_token, per_token, bias, size, output + row * size);
  });
}

int AddGatedRows(const float* gates, const float* input, int64_t num_rows, int64_t size,
                 float* output, CUstream_st* stream) {
  return ForRows(num_rows, [&](int64_t row, unsigned count) -> int {
    return Launch(stream, AddGatedRowsKernel, dim3(Columns(size), count), kThreads, 0, gates + row,
                  input + row * size, size, output + row * size);
  });
}

}  // namespace tessera::worker::cuda
