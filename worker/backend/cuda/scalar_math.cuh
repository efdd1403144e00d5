// worker/backend/scalar_math.cc's exp and log in double, operation for operation.
#ifndef TESSERA_WORKER_BACKEND_CUDA_SCALAR_MATH_CUH_
#define TESSERA_WORKER_BACKEND_CUDA_SCALAR_MATH_CUH_

#include <cuda_runtime.h>

#include <cstdint>

namespace tessera::worker::cuda {

__device__ __forceinline__ double InfiniteDouble() {
  return __longlong_as_double(0x7ff0000000000000ll);
}

__device__ __forceinline__ double PowerOfTwo(int exponent) {
  return __longlong_as_double(static_cast<long long>(exponent + 1023) << 52);
}

__device__ inline double ExactExp(double x) {
  if (x != x) return x;
  if (x > 710) return InfiniteDouble();
  if (x < -745.2) return 0;
  const double shift = 6755399441055744.0;  // 1.5 * 2^52
  const double n = (x * 1.44269504088896338700 + shift) - shift;
  const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double sum = 0;
  for (int i = 14; i >= 1; --i) sum = (sum + 1) * r / i;
  const int power = static_cast<int>(n);
  const int half = power / 2;
  return (1 + sum) * PowerOfTwo(half) * PowerOfTwo(power - half);
}

// Of a positive normal number, or infinity or NaN.
__device__ inline double ExactLog(double x) {
  if (x != x || x == InfiniteDouble()) return x;
  const long long bits = __double_as_longlong(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = __longlong_as_double((bits & 0xfffffffffffffll) | 0x3ff0000000000000ll);
  if (m > 1.41421356237309504880) {
    m = m / 2;
    exponent += 1;
  }
  const double s = (m - 1) / (m + 1);
  const double square = s * s;
  double sum = 0;
  for (int i = 23; i >= 3; i -= 2) sum = (sum + 1.0 / i) * square;
  return exponent * 6.93147180369123816490e-01 +
         (2 * (s + s * sum) + exponent * 1.90821492927058770002e-10);
}

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_SCALAR_MATH_CUH_
