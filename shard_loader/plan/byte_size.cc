#include "shard_loader/plan/byte_size.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace tessera::shard_loader {
namespace {

constexpr double kMost = int64_t{1} << 52;  // sums over all ranks of a group stay 64 bits

}  // namespace

std::optional<int64_t> ParseBytes(absl::string_view text) {
  const size_t digits = std::min(text.size(), text.find_first_not_of("0123456789."));
  double number = 0;
  if (!absl::SimpleAtod(text.substr(0, digits), &number)) return std::nullopt;
  const absl::string_view unit = absl::StripAsciiWhitespace(text.substr(digits));
  constexpr absl::string_view kLetters = "KMGT";
  double factor = 1;
  if (!unit.empty() && unit != "B") {
    const size_t power = kLetters.find(absl::ascii_toupper(unit[0]));
    const absl::string_view rest = unit.substr(1);
    if (power == absl::string_view::npos ||
        !(rest.empty() || rest == "i" || rest == "iB" || rest == "B")) {
      return std::nullopt;
    }
    for (size_t i = 0; i <= power; ++i) factor *= rest == "B" ? 1000 : 1024;
  }
  const double bytes = number * factor;
  if (!(bytes >= 1) || bytes > kMost) return std::nullopt;
  return static_cast<int64_t>(bytes);
}

}  // namespace tessera::shard_loader
