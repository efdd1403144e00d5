// exp, log, sin and cos in double, our own: libm's last bits differ by CPU. Plain arithmetic in a
// fixed order, for the few places outside the kernels where bits count.
#ifndef TESSERA_WORKER_BACKEND_SCALAR_MATH_H_
#define TESSERA_WORKER_BACKEND_SCALAR_MATH_H_

namespace tessera::worker {

// e^x with a relative error below 1e-15; 0 below -745, infinity above 710, NaN for NaN.
double ExactExp(double x);

// Natural logarithm of a positive, finite, normal x, with a relative error below 1e-14; -infinity
// for 0; x itself for infinity and NaN; NaN below 0.
double ExactLog(double x);

struct SinCos {
  double sin;
  double cos;
};

// Of a finite |x| below 2^31, with an absolute error below 1e-15.
SinCos ExactSinCos(double x);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_SCALAR_MATH_H_
