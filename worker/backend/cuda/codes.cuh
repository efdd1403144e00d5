// Numbers as integers of 8 bits, by a warp (worker/backend/cpu/codes.inc): the largest magnitude is
// 127 steps, a number becomes the nearest step, ties to even.
#ifndef TESSERA_WORKER_BACKEND_CUDA_CODES_CUH_
#define TESSERA_WORKER_BACKEND_CUDA_CODES_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "worker/backend/cuda/math.cuh"

namespace tessera::worker::cuda {

struct Steps {
  float scale;    // of a step; NaN where a number is not finite, 0 where all are as good as zero
  float inverse;  // steps of 1; 0: all codes are 0
};

// Of values[begin .. end), on all lanes of the warp.
__device__ __forceinline__ Steps StepsOf(const float* values, int64_t begin, int64_t end) {
  constexpr float kLeastInput = 1e-30f;  // below, numbers are as good as zero
  float largest = 0.0f;
  float zeros = 0.0f;
  for (int64_t i = begin + Thread() % 32; i < end; i += 32) {
    const float x = values[i];
    largest = Larger(x < 0.0f ? 0.0f - x : x, largest);
    zeros = fmaf(x, 0.0f, zeros);
  }
  for (int distance = 16; distance > 0; distance /= 2) {
    largest = Larger(__shfl_xor_sync(0xffffffffu, largest, distance), largest);
    zeros = zeros + __shfl_xor_sync(0xffffffffu, zeros, distance);
  }
  largest = largest + zeros;
  const bool counts = largest >= kLeastInput;  // not where it is NaN
  const float none = largest < kLeastInput ? 0.0f : largest;
  return {counts ? largest / 127.0f : none, counts ? 127.0f / largest : 0.0f};
}

__device__ __forceinline__ int8_t CodeOf(float value, const Steps& steps) {
  if (steps.inverse == 0.0f) return 0;
  const float shift = 12582912.0f;  // rounds to an integer, which is then in the low bits
  const float shifted = value * steps.inverse + shift;
  return static_cast<int8_t>(__float_as_uint(shifted) - __float_as_uint(shift));
}

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_CODES_CUH_
