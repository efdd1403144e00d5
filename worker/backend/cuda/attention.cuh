// What both attention kernels do to scores and to the sums of tiles, in the order of
// worker/backend/cpu/attention.inc.
#ifndef TESSERA_WORKER_BACKEND_CUDA_ATTENTION_CUH_
#define TESSERA_WORKER_BACKEND_CUDA_ATTENTION_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/math.cuh"
#include "worker/backend/ops.h"

namespace tessera::worker::cuda {

// A scaled product of a query with the key at `key`, as softmax takes it. `first_key` is the first
// of the key's 16 neighbours.
__device__ __forceinline__ float AdjustScore(const AttentionArgs& args, float score, int64_t head,
                                             int64_t key, int64_t position) {
  if (args.soft_cap > 0.0f) score = args.soft_cap * Tanh(score / args.soft_cap);
  if (args.slopes != nullptr && args.slopes[head] != 0.0f) {
    const int64_t lane = key % 16;
    const float distance = static_cast<float>(key - lane - position) + static_cast<float>(lane);
    score = fmaf(args.slopes[head], distance, score);
  }
  return score;
}

// An element of a cache in int8: its token's scale is apart.
struct Int8 {
  using Bits = int8_t;
  static __device__ __forceinline__ float Widen(int8_t code) { return static_cast<float>(code); }
};

// The keys that a row sees: [begin, end).
struct SeenKeys {
  int64_t begin;
  int64_t end;
};
__device__ __forceinline__ SeenKeys KeysOf(int64_t position, int64_t window) {
  const int64_t end = position + 1;
  return {window > 0 && end > window ? end - window : 0, end};
}

// How the running result and the next tile (or a sink) enter their union.
struct Merge {
  float maximum;
  float keep;  // factor of what is there
  float take;  // factor of what comes
};
__device__ __forceinline__ Merge MergeMaxima(float running, float next) {
  Merge merge;
  merge.maximum = running > next ? running : next;
  merge.keep = Exp(running - merge.maximum);
  merge.take = Exp(next - merge.maximum);
  return merge;
}

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_ATTENTION_CUH_
