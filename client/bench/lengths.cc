#include "client/bench/lengths.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tessera::client {
namespace {

constexpr double kLongest = 1 << 24;

}  // namespace

absl::StatusOr<LengthDistribution> LengthDistribution::Parse(std::string_view text) {
  const absl::Status invalid = absl::InvalidArgumentError(absl::StrCat(
      "'", std::string(text),
      "' is no length; give N, uniform:LEAST:MOST, normal:MEAN:DEVIATION, lognormal:MEDIAN:SIGMA "
      "or exponential:MEAN"));
  std::vector<std::string> parts = absl::StrSplit(std::string(text), ':');
  const std::string name = parts.size() > 1 ? parts[0] : "";
  if (parts.size() > 1) parts.erase(parts.begin());
  std::vector<double> values;
  for (const std::string& part : parts) {
    double value = 0;
    if (!absl::SimpleAtod(part, &value) || !(value >= 0) || value > kLongest) return invalid;
    values.push_back(value);
  }
  const double first = values[0];
  if (values.size() == 1 && first >= 1) {
    if (name.empty() && first == std::floor(first)) {
      return LengthDistribution(Kind::kFixed, first, 0);
    }
    if (name == "exponential") return LengthDistribution(Kind::kExponential, first, 0);
  }
  if (values.size() == 2 && first >= 1) {
    if (name == "uniform" && values[1] >= first) {
      return LengthDistribution(Kind::kUniform, std::floor(first), std::floor(values[1]));
    }
    if (name == "normal") return LengthDistribution(Kind::kNormal, first, values[1]);
    if (name == "lognormal") return LengthDistribution(Kind::kLogNormal, first, values[1]);
  }
  return invalid;
}

uint32_t LengthDistribution::Sample(Random& random) const {
  double length = first_;
  switch (kind_) {
    case Kind::kFixed:
      break;
    case Kind::kUniform:
      length += static_cast<double>(random.Below(static_cast<uint64_t>(second_ - first_) + 1));
      break;
    case Kind::kNormal:
      length += second_ * random.Normal();
      break;
    case Kind::kLogNormal:
      length *= std::exp(second_ * random.Normal());
      break;
    case Kind::kExponential:
      length *= random.Exponential();
      break;
  }
  return static_cast<uint32_t>(std::clamp(std::round(length), 1.0, kLongest));
}

}  // namespace tessera::client
