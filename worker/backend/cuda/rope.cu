// Rotates queries and keys and writes keys and values into their blocks of the cache, in one pass.
//
// Idea: a row to a block of threads; a thread takes a pair of elements of one head. Shapes: query
// [rows, heads, head_size], key and value likewise with the KV heads. Bottleneck: the start of the
// kernel; keys of one token lie 16 elements apart, so that their writes are narrow.
#include <cuda_runtime.h>

#include "shard_loader/plan/workspace.h"
#include "worker/backend/cuda/codes.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/launch.cuh"
#include "worker/backend/cuda/math.cuh"

namespace tessera::worker::cuda {
namespace {

using shard_loader::kKvBlockTokens;

constexpr int kThreads = 256;

// Pair i of the rotated part of a head.
__device__ __forceinline__ void RotatePair(const RopeArgs& args, int64_t row, float* head,
                                           int64_t i) {
  const int64_t half = args.rotary_size / 2;
  const float cosine = args.cosines[row * half + i];
  const float sine = args.sines[row * half + i];
  float* first = head + args.rotary_begin + (args.interleaved ? 2 * i : i);
  float* second = first + (args.interleaved ? 1 : half);
  const float a = *first;
  const float b = *second;
  *first = a * cosine - b * sine;
  *second = b * cosine + a * sine;
}

// Returns the row's rotated keys. All threads of the block take part.
__device__ const float* RotateRow(const RopeArgs& args, const KvLayer& cache, int64_t row) {
  const int64_t half = args.rotary_size / 2;
  for (int64_t i = Thread(); i < args.num_heads * half; i += blockDim.x) {
    RotatePair(args, row, args.query + (row * args.num_heads + i / half) * cache.head_size,
               i % half);
  }
  float* keys = args.key + row * cache.num_kv_heads * cache.head_size;
  for (int64_t i = Thread(); i < cache.num_kv_heads * half; i += blockDim.x) {
    RotatePair(args, row, keys + i / half * cache.head_size, i % half);
  }
  __syncthreads();
  return keys;
}

// A cache in int8: a warp takes the key or the value of a head, and writes its integers and their
// scale.
__global__ void RopeInt8Kernel(DeviceRows rows, RopeArgs args, KvLayer cache) {
  const int64_t row = blockIdx.x;
  const int32_t position = rows.positions[row];
  if (position < 0) return;
  const float* keys = RotateRow(args, cache, row);
  const float* values = args.value + row * cache.num_kv_heads * cache.value_size;
  const int64_t stride = (cache.value_size + 15) / 16 * 16;
  const int64_t elements = (cache.head_size + stride) * kKvBlockTokens;
  const int64_t head_bytes = elements + 2 * kKvBlockTokens * static_cast<int64_t>(sizeof(float));
  const int64_t token = position % kKvBlockTokens;
  const int64_t block = rows.blocks[rows.table_begin[row] + position / kKvBlockTokens];
  for (int64_t part = Thread() / 32; part < 2 * cache.num_kv_heads; part += kThreads / 32) {
    const int64_t head = part / 2;
    const bool is_key = part % 2 == 0;
    std::byte* const data = cache.data + (block * cache.num_kv_heads + head) * head_bytes;
    const int64_t size = is_key ? cache.head_size : cache.value_size;
    const float* const from = (is_key ? keys : values) + head * size;
    const Steps steps = StepsOf(from, 0, size);
    auto* const codes = reinterpret_cast<int8_t*>(data);
    for (int64_t i = Thread() % 32; i < size; i += 32) {
      const int64_t index = is_key ? i * kKvBlockTokens + token
                                   : cache.head_size * kKvBlockTokens + token * stride + i;
      codes[index] = CodeOf(from[i], steps);
    }
    if (Thread() % 32 != 0) continue;
    reinterpret_cast<float*>(data + elements)[(is_key ? 0 : kKvBlockTokens) + token] = steps.scale;
  }
}

template <typename Type>
__global__ void RopeKernel(DeviceRows rows, RopeArgs args, KvLayer cache) {
  const int64_t row = blockIdx.x;
  const int32_t position = rows.positions[row];
  if (position < 0) return;
  const float* keys = RotateRow(args, cache, row);
  const int64_t stride = (cache.value_size + 15) / 16 * 16;
  const int64_t head_elements = (cache.head_size + stride) * kKvBlockTokens;
  const int64_t token = position % kKvBlockTokens;
  const int64_t block = rows.blocks[rows.table_begin[row] + position / kKvBlockTokens];
  typename Type::Bits* first = reinterpret_cast<typename Type::Bits*>(cache.data) +
                               block * cache.num_kv_heads * head_elements;
  for (int64_t i = Thread(); i < cache.num_kv_heads * cache.head_size; i += blockDim.x) {
    const int64_t head = i / cache.head_size;
    const int64_t element = i % cache.head_size;
    first[head * head_elements + element * kKvBlockTokens + token] = Type::Narrow(keys[i]);
  }
  const float* values = args.value + row * cache.num_kv_heads * cache.value_size;
  for (int64_t i = Thread(); i < cache.num_kv_heads * cache.value_size; i += blockDim.x) {
    const int64_t head = i / cache.value_size;
    const int64_t element = i % cache.value_size;
    first[head * head_elements + cache.head_size * kKvBlockTokens + token * stride + element] =
        Type::Narrow(values[i]);
  }
}

}  // namespace

int RopeAndStore(const DeviceRows& rows, const RopeArgs& args, const KvLayer& cache,
                 CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>(rows.num_rows));
  if (cache.int8) {
    return Launch(stream, RopeInt8Kernel, grid, kThreads, 0, rows, args, cache);
  }
  return WithType(cache.dtype, [&](auto type) {
    return Launch(stream, RopeKernel<decltype(type)>, grid, kThreads, 0, rows, args, cache);
  });
}

}  // namespace tessera::worker::cuda
