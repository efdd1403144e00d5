// Attention of one row and head over the paged cache, in the order of worker/backend/cpu.
//
// Idea: a row and head to a block of threads. A tile of 256 keys: a thread holds the scores of two
// keys (fma over the head's elements ascending), 16 threads add the weights up (key i in number
// i % 16), a thread holds elements of the output (fma over the keys ascending). Tiles are merged in
// ascending order. Shapes: query [rows, heads, head_size], cache blocks of 16 tokens. Bottleneck:
// the one warp's worth of work in each of its steps; this is the yardstick of the tests, the path
// of fp32 caches and of head sizes that mma does not take. Of a cache in int8 a score's sum is
// multiplied by the key's scale, and a weight by the value's before it meets the values.
#include <cuda_runtime.h>

#include <type_traits>

#include "shard_loader/plan/workspace.h"
#include "worker/backend/cuda/attention.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"

namespace tessera::worker::cuda {
namespace {

using shard_loader::kKvBlockTokens;

constexpr int kThreads = 128;
constexpr int kKeysEach = kAttentionTile / kThreads;
constexpr int kValuesEach = kMaxHeadSize / kThreads;

struct Shared {
  float query[kMaxHeadSize];
  float scores[kAttentionTile];
  float fold[kThreads];
};

template <typename Type>
inline constexpr bool kScaled = std::is_same_v<Type, Int8>;

template <typename Type>
struct HeadCache {
  const typename Type::Bits* data;  // of the KV head in block 0
  int64_t block_stride;
  int64_t head_size;
  int64_t value_stride;
  const uint32_t* blocks;

  __device__ const typename Type::Bits* Block(int64_t key) const {
    return data + blocks[key / kKvBlockTokens] * block_stride;
  }
  __device__ const typename Type::Bits* Key(int64_t key) const {
    return Block(key) + key % kKvBlockTokens;
  }
  __device__ const typename Type::Bits* Value(int64_t key) const {
    return Block(key) + head_size * kKvBlockTokens + key % kKvBlockTokens * value_stride;
  }
  // Of Int8.
  __device__ float KeyScale(int64_t key) const { return Scales(key)[key % kKvBlockTokens]; }
  __device__ float ValueScale(int64_t key) const {
    return Scales(key)[kKvBlockTokens + key % kKvBlockTokens];
  }
  __device__ const float* Scales(int64_t key) const {
    return reinterpret_cast<const float*>(Block(key) + (head_size + value_stride) * kKvBlockTokens);
  }
};

__device__ float FoldMaximum(float mine, float* fold) {
  fold[Thread()] = mine;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (Thread() < half) fold[Thread()] = Larger(fold[Thread()], fold[Thread() + half]);
  }
  __syncthreads();
  const float maximum = fold[0];
  __syncthreads();
  return maximum;
}

struct TileSums {
  float maximum;
  float sum;
};

// Keys [keys.begin, keys.end) of the tile that starts at `tile`; `values`: this thread's elements.
template <typename Type>
__device__ TileSums ReduceTile(const AttentionArgs& args, const HeadCache<Type>& cache,
                               int64_t value_size, int64_t head, int64_t position, int64_t tile,
                               SeenKeys keys, Shared* shared, float* values) {
  float scores[kKeysEach];
  float maximum = LowestFloat();
  for (int j = 0; j < kKeysEach; ++j) {
    const int64_t key = tile + j * kThreads + Thread();
    if (key < keys.begin || key >= keys.end) continue;
    const typename Type::Bits* elements = cache.Key(key);
    float sum = 0.0f;
    for (int64_t i = 0; i < cache.head_size; ++i) {
      sum = fmaf(shared->query[i], Type::Widen(elements[i * kKvBlockTokens]), sum);
    }
    if constexpr (kScaled<Type>) sum = sum * cache.KeyScale(key);
    scores[j] = AdjustScore(args, sum * args.scale, head, key, position);
    maximum = Larger(scores[j], maximum);
  }
  maximum = FoldMaximum(maximum, shared->fold);
  for (int j = 0; j < kKeysEach; ++j) {
    const int64_t key = tile + j * kThreads + Thread();
    const bool seen = key >= keys.begin && key < keys.end;
    shared->scores[j * kThreads + Thread()] = seen ? Exp(scores[j] - maximum) : 0.0f;
  }
  __syncthreads();
  if (Thread() < 16) {
    float sum = 0.0f;
    for (int i = Thread(); i < kAttentionTile; i += 16) sum = sum + shared->scores[i];
    shared->fold[Thread()] = sum;
  }
  FoldShared<16>(shared->fold);
  if constexpr (kScaled<Type>) {
    for (int64_t key = keys.begin + Thread(); key < keys.end; key += kThreads) {
      shared->scores[key - tile] = shared->scores[key - tile] * cache.ValueScale(key);
    }
    __syncthreads();
  }
  for (int j = 0; j < kValuesEach; ++j) {
    const int64_t element = j * kThreads + Thread();
    if (element >= value_size) break;
    float sum = 0.0f;
    for (int64_t key = keys.begin; key < keys.end; ++key) {
      sum = fmaf(shared->scores[key - tile], Type::Widen(cache.Value(key)[element]), sum);
    }
    values[j] = sum;
  }
  const TileSums sums = {maximum, shared->fold[0]};
  __syncthreads();
  return sums;
}

template <typename Type>
__global__ void AttendFmaKernel(DeviceRows rows, AttentionArgs args, KvLayer layer) {
  Shared* shared = SharedMemory<Shared>();
  const int64_t row = blockIdx.x;
  const int64_t head = blockIdx.y;
  const int64_t position = rows.positions[row];
  if (position < 0) return;
  const int64_t stride = (layer.value_size + 15) / 16 * 16;
  const int64_t scales =
      kScaled<Type> ? 2 * kKvBlockTokens * static_cast<int64_t>(sizeof(float)) : 0;
  const int64_t head_elements = (layer.head_size + stride) * kKvBlockTokens + scales;
  const HeadCache<Type> cache = {reinterpret_cast<const typename Type::Bits*>(layer.data) +
                                     args.kv_head_of[head] * head_elements,
                                 layer.num_kv_heads * head_elements, layer.head_size, stride,
                                 rows.blocks + rows.table_begin[row]};
  const float* query = args.query + (row * args.num_heads + head) * layer.head_size;
  for (int64_t i = Thread(); i < layer.head_size; i += kThreads) shared->query[i] = query[i];
  __syncthreads();

  const SeenKeys seen = KeysOf(position, args.window);
  float output[kValuesEach] = {};
  float values[kValuesEach] = {};
  TileSums sums = {};
  bool first = true;
  for (int64_t tile = seen.begin / kAttentionTile * kAttentionTile; tile < seen.end;
       tile += kAttentionTile) {
    const SeenKeys keys = {tile > seen.begin ? tile : seen.begin,
                           tile + kAttentionTile < seen.end ? tile + kAttentionTile : seen.end};
    const TileSums next = ReduceTile(args, cache, layer.value_size, head, position, tile, keys,
                                     shared, first ? output : values);
    if (first) {
      sums = next;
      first = false;
      continue;
    }
    const Merge merge = MergeMaxima(sums.maximum, next.maximum);
    for (int j = 0; j < kValuesEach; ++j) {
      output[j] = output[j] * merge.keep + values[j] * merge.take;
    }
    sums = {merge.maximum, sums.sum * merge.keep + next.sum * merge.take};
  }
  if (args.sinks != nullptr) {
    const Merge merge = MergeMaxima(sums.maximum, args.sinks[head]);
    for (int j = 0; j < kValuesEach; ++j) output[j] = output[j] * merge.keep;
    sums = {merge.maximum, sums.sum * merge.keep + merge.take};
  }
  float* result = args.output + (row * args.num_heads + head) * layer.value_size;
  for (int j = 0; j < kValuesEach; ++j) {
    const int64_t element = j * kThreads + Thread();
    if (element < layer.value_size) result[element] = output[j] / sums.sum;
  }
}

}  // namespace

int AttendFma(const DeviceRows& rows, const AttentionArgs& args, const KvLayer& cache,
              CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(rows.num_rows), static_cast<unsigned>(args.num_heads));
  if (cache.int8) {
    return Launch(stream, AttendFmaKernel<Int8>, grid, kThreads, sizeof(Shared), rows, args, cache);
  }
  return WithType(cache.dtype, [&](auto type) {
    return Launch(stream, AttendFmaKernel<decltype(type)>, grid, kThreads, sizeof(Shared), rows,
                  args, cache);
  });
}

}  // namespace tessera::worker::cuda
