#include "shard_loader/plan/numerics_id.h"

#include <cctype>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tessera::shard_loader {
namespace {

bool IsName(const std::string& name) {
  if (name.empty() || name.size() > 64) return false;
  for (unsigned char c : name) {
    if (std::isalnum(c) == 0 && c != '_' && c != '-' && c != '.') return false;
  }
  return true;
}

std::vector<std::string> Split(std::string_view text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// Takes `prefix` off `part` into `value`.
bool TakeName(const std::string& part, const std::string& prefix, std::string& value) {
  if (part.compare(0, prefix.size(), prefix) != 0) return false;
  value = part.substr(prefix.size());
  return IsName(value);
}

template <typename Integer>
bool TakeInteger(const std::string& part, const std::string& prefix, Integer& value) {
  std::string digits;
  return TakeName(part, prefix, digits) && absl::SimpleAtoi(digits, &value);
}

}  // namespace

std::string NumericsId::ToString() const {
  return absl::StrCat("v", version, "/", kernel_set, "/w=", weight_dtype, "/kv=", kv_dtype,
                      "/lanes=", lanes, "/experts=", expert_order, "/tile=", attention_tile,
                      "/rope=", rope_context);
}

absl::StatusOr<NumericsId> NumericsId::Parse(std::string_view text) {
  NumericsId id;
  const std::vector<std::string> parts = Split(text.substr(0, 1024));
  const bool read =
      parts.size() == 8 && TakeInteger(parts[0], "v", id.version) &&
      TakeName(parts[1], "", id.kernel_set) && TakeName(parts[2], "w=", id.weight_dtype) &&
      TakeName(parts[3], "kv=", id.kv_dtype) && TakeInteger(parts[4], "lanes=", id.lanes) &&
      TakeName(parts[5], "experts=", id.expert_order) &&
      TakeInteger(parts[6], "tile=", id.attention_tile) &&
      TakeInteger(parts[7], "rope=", id.rope_context);
  // One spelling per id: equal ids are equal strings.
  if (!read || id.ToString() != text) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard_loader: '", std::string(text.substr(0, 200)),
                     "' is no numerics id; expected the form ",
                     "v1/KERNELS/w=DTYPE/kv=DTYPE/lanes=8/experts=-/tile=256/rope=0"));
  }
  return id;
}

}  // namespace tessera::shard_loader
