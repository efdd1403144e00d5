// How long prompts and answers of a load are.
#ifndef TESSERA_CLIENT_BENCH_LENGTHS_H_
#define TESSERA_CLIENT_BENCH_LENGTHS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/bench/random.h"

namespace tessera::client {

// Immutable.
class LengthDistribution {
 public:
  // "128"; "uniform:16:512", both ends included; "normal:MEAN:DEVIATION"; "lognormal:MEDIAN:SIGMA"
  // (sigma of the logarithm); "exponential:MEAN". INVALID_ARGUMENT for anything else.
  static absl::StatusOr<LengthDistribution> Parse(std::string_view text);

  // At least 1.
  uint32_t Sample(Random& random) const;

 private:
  enum class Kind { kFixed, kUniform, kNormal, kLogNormal, kExponential };
  LengthDistribution(Kind kind, double first, double second)
      : kind_(kind), first_(first), second_(second) {}

  Kind kind_;
  double first_;
  double second_;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_BENCH_LENGTHS_H_
