#include "worker/backend/scalar_math.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace tessera::worker {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double RelativeError(double found, double expected) {
  return expected == found ? 0 : std::abs((found - expected) / expected);
}

TEST_CASE("exp is that of libm to 1e-15 over its whole range") {
  for (double x = -708; x < 709.7; x += 0.0371) {
    INFO("x = " << x);
    REQUIRE(RelativeError(ExactExp(x), std::exp(x)) < 1e-15);
  }
  CHECK(ExactExp(0) == 1);
  CHECK(ExactExp(-740) > 0);
  CHECK(ExactExp(-800) == 0);
  CHECK(ExactExp(-kInfinity) == 0);
  CHECK(ExactExp(711) == kInfinity);
  CHECK(std::isnan(ExactExp(std::nan(""))));
}

TEST_CASE("log is that of libm to 1e-14 over its whole range") {
  for (double x = 1e-300; x < 1e300; x *= 1.0371) {
    INFO("x = " << x);
    REQUIRE(std::abs(ExactLog(x) - std::log(x)) <= 1e-14 * std::max(1e-2, std::abs(std::log(x))));
  }
  CHECK(ExactLog(1) == 0);
  CHECK(ExactLog(0) == -kInfinity);
  CHECK(ExactLog(kInfinity) == kInfinity);
  CHECK(std::isnan(ExactLog(-1)));
  CHECK(std::isnan(ExactLog(std::nan(""))));
}

TEST_CASE("sine and cosine are those of libm to 1e-15, also of large angles") {
  for (double x = -1000; x < 200000; x += 3.7131) {
    INFO("x = " << x);
    const SinCos found = ExactSinCos(x);
    REQUIRE(std::abs(found.sin - std::sin(x)) < 1e-15);
    REQUIRE(std::abs(found.cos - std::cos(x)) < 1e-15);
  }
  CHECK(ExactSinCos(0).sin == 0);
  CHECK(ExactSinCos(0).cos == 1);
}

}  // namespace
}  // namespace tessera::worker
