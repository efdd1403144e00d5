// Arithmetic of one element: to the bit what worker/backend/cpu does to each element of a vector
// (math.inc there says where the formulas come from). Compiled with -fmad=false: an fma happens
// only where it is written.
#ifndef TESSERA_WORKER_BACKEND_CUDA_MATH_CUH_
#define TESSERA_WORKER_BACKEND_CUDA_MATH_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/dtype.h"
#include "worker/backend/cuda/intrinsics.cuh"

namespace tessera::worker::cuda {

__device__ __forceinline__ int Thread() { return static_cast<int>(threadIdx.x); }

// The second operand where one is NaN or both are zero.
__device__ __forceinline__ float Larger(float a, float b) { return a > b ? a : b; }
__device__ __forceinline__ float Smaller(float a, float b) { return a < b ? a : b; }

__device__ __forceinline__ float LowestFloat() { return __uint_as_float(0xff800000u); }

__device__ __forceinline__ float Exp(float x) {
  x = Larger(-104.0f, x);  // in this order NaN passes
  x = Smaller(89.0f, x);
  const float shift = 12582912.0f;
  const float shifted = fmaf(x, 1.44269504088896341f, shift);
  const float n = shifted - shift;
  const int power = static_cast<int>(__float_as_uint(shifted) - __float_as_uint(shift));
  float r = fmaf(n, -0.693359375f, x);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fmaf(p, r, 1.3981999507e-3f);
  p = fmaf(p, r, 8.3334519073e-3f);
  p = fmaf(p, r, 4.1665795894e-2f);
  p = fmaf(p, r, 1.6666665459e-1f);
  p = fmaf(p, r, 5.0000001201e-1f);
  p = fmaf(p, r * r, r + 1.0f);
  const int half = power >> 1;
  const float first = __uint_as_float(static_cast<uint32_t>(half + 127) << 23);
  const float second = __uint_as_float(static_cast<uint32_t>(power - half + 127) << 23);
  return p * first * second;
}

__device__ __forceinline__ float Tanh(float x) {
  const float e = Exp(x + x);
  return 1.0f - 2.0f / (e + 1.0f);
}

__device__ __forceinline__ float Erf(float x) {
  x = Larger(-4.0f, x);
  x = Smaller(4.0f, x);
  const float square = x * x;
  float p = -2.72614225801306e-10f;
  p = fmaf(p, square, 2.77068142495902e-08f);
  p = fmaf(p, square, -2.10102402082508e-06f);
  p = fmaf(p, square, -5.69250639462346e-05f);
  p = fmaf(p, square, -7.34990630326855e-04f);
  p = fmaf(p, square, -2.95459980854025e-03f);
  p = fmaf(p, square, -1.60960333262415e-02f);
  float q = -1.45660718464996e-05f;
  q = fmaf(q, square, -2.13374052778905e-04f);
  q = fmaf(q, square, -1.68282697438203e-03f);
  q = fmaf(q, square, -7.37332916720468e-03f);
  q = fmaf(q, square, -1.42647390514189e-02f);
  return x * p / q;
}

// How a cache or a matrix holds its elements.
struct F32 {
  static constexpr shard_loader::DType kType = shard_loader::DType::kF32;
  using Bits = float;
  static __device__ __forceinline__ float Widen(float value) { return value; }
  static __device__ __forceinline__ float Narrow(float value) { return value; }
};
struct F16 {
  static constexpr shard_loader::DType kType = shard_loader::DType::kF16;
  using Bits = uint16_t;
  static __device__ __forceinline__ float Widen(uint16_t bits) { return WidenF16(bits); }
  static __device__ __forceinline__ uint16_t Narrow(float value) { return NarrowF16(value); }
  static __device__ __forceinline__ void Mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
    MmaF16(d, a, b0, b1);
  }
};
struct BF16 {
  static constexpr shard_loader::DType kType = shard_loader::DType::kBF16;
  using Bits = uint16_t;
  static __device__ __forceinline__ float Widen(uint16_t bits) { return WidenBF16(bits); }
  static __device__ __forceinline__ uint16_t Narrow(float value) { return NarrowBF16(value); }
  static __device__ __forceinline__ void Mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
    MmaBF16(d, a, b0, b1);
  }
};

// Two neighbours in one word, the first in the low half.
template <typename Type>
__device__ __forceinline__ uint32_t NarrowPair(float first, float second) {
  return uint32_t{Type::Narrow(first)} | uint32_t{Type::Narrow(second)} << 16;
}

// Calls `body` with the type that `dtype` names.
template <typename Body>
auto WithType(shard_loader::DType dtype, const Body& body) {
  switch (dtype) {
    case shard_loader::DType::kF16:
      return body(F16());
    case shard_loader::DType::kBF16:
      return body(BF16());
    default:
      return body(F32());
  }
}

// shared[0] = the sum of shared[0 .. kCount), halves added until one element is left. All threads
// of the block take part, kCount / 2 of them at least.
template <int kCount>
__device__ __forceinline__ void FoldShared(float* shared) {
  for (int half = kCount / 2; half > 0; half /= 2) {
    __syncthreads();
    if (Thread() < half) shared[Thread()] = shared[Thread()] + shared[Thread() + half];
  }
  __syncthreads();
}

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_MATH_CUH_
