#include "worker/backend/scalar_math.h"

#include <bit>
#include <cstdint>
#include <limits>

namespace tessera::worker {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// ln 2 and pi/2 in parts whose leading ones have trailing zeros: products with small integers are
// exact (Cody and Waite).
constexpr double kLn2High = 6.93147180369123816490e-01;
constexpr double kLn2Low = 1.90821492927058770002e-10;
constexpr double kHalfPi1 = 1.57079632673412561417e+00;
constexpr double kHalfPi2 = 6.07710050630396597660e-11;
constexpr double kHalfPi3 = 2.02226624879595063154e-21;

// To the nearest integer, for |x| < 2^51.
double RoundToInteger(double x) {
  const double shift = 6755399441055744.0;  // 1.5 * 2^52
  return (x + shift) - shift;
}

double PowerOfTwo(int exponent) {
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

}  // namespace

double ExactExp(double x) {
  if (x != x) return x;
  if (x > 710) return kInfinity;
  if (x < -745.2) return 0;
  const double n = RoundToInteger(x * 1.44269504088896338700);
  const double r = (x - n * kLn2High) - n * kLn2Low;  // |r| <= ln 2 / 2
  // Taylor: r^14 / 14! < 5e-18.
  double sum = 0;
  for (int i = 14; i >= 1; --i) sum = (sum + 1) * r / i;
  const int power = static_cast<int>(n);
  const int half = power / 2;
  return (1 + sum) * PowerOfTwo(half) * PowerOfTwo(power - half);
}

double ExactLog(double x) {
  if (x != x || x == kInfinity) return x;
  if (x == 0) return -kInfinity;
  if (x < 0) return std::numeric_limits<double>::quiet_NaN();
  uint64_t bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.41421356237309504880) {
    m = m / 2;
    exponent += 1;
  }
  // log m = 2 atanh(s), |s| <= 0.1716; s^2^12 / 25 < 2e-20.
  const double s = (m - 1) / (m + 1);
  const double square = s * s;
  double sum = 0;
  for (int i = 23; i >= 3; i -= 2) sum = (sum + 1.0 / i) * square;
  return exponent * kLn2High + (2 * (s + s * sum) + exponent * kLn2Low);
}

SinCos ExactSinCos(double x) {
  const double n = RoundToInteger(x * 0.63661977236758134308);
  const double r = ((x - n * kHalfPi1) - n * kHalfPi2) - n * kHalfPi3;  // |r| <= pi/4
  const double square = r * r;
  // Taylor: r^19 / 19! < 1e-19 and r^20 / 20! < 4e-21.
  double sin = 0;
  double cos = 0;
  for (int i = 19; i >= 3; i -= 2) sin = (sin + 1) * -square / (i * (i - 1));
  for (int i = 20; i >= 2; i -= 2) cos = (cos + 1) * -square / (i * (i - 1));
  sin = r + r * sin;
  cos = 1 + cos;
  switch (static_cast<int64_t>(n) & 3) {
    case 0:
      return {sin, cos};
    case 1:
      return {cos, -sin};
    case 2:
      return {-sin, -cos};
    default:
      return {-cos, sin};
  }
}

}  // namespace tessera::worker
