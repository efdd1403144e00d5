#include "server/text/precompiled_charsmap.h"

#include <cstring>

#include "server/text/utf8.h"

namespace tessera::server {
namespace {

// The fields of a unit (darts-clone, darts.h).
bool HasLeaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t Value(uint32_t unit) { return unit & 0x7FFFFFFF; }
uint32_t Label(uint32_t unit) { return unit & 0x800000FF; }
uint32_t Offset(uint32_t unit) { return unit >> 10 << ((unit & 0x200) >> 6); }

}  // namespace

absl::StatusOr<PrecompiledCharsmap> PrecompiledCharsmap::Parse(std::string_view blob) {
  uint32_t size = 0;
  if (blob.size() >= 4) std::memcpy(&size, blob.data(), 4);
  if (blob.size() < 4 || size > blob.size() - 4 || size % 4 != 0 || size == 0) {
    return absl::InvalidArgumentError(
        "tokenizer.json: precompiled_charsmap: the trie does not fit its stated size");
  }
  PrecompiledCharsmap map;
  map.units_.resize(size / 4);
  std::memcpy(map.units_.data(), blob.data() + 4, size);
  map.replacements_ = std::string(blob.substr(4 + size));
  if (FindInvalidUtf8(map.replacements_) != std::string_view::npos) {
    return absl::InvalidArgumentError(
        "tokenizer.json: precompiled_charsmap: the replacement strings are not UTF-8");
  }
  return map;
}

std::optional<std::string_view> PrecompiledCharsmap::Transform(std::string_view text) const {
  size_t node = Offset(units_[0]);
  for (unsigned char byte : text) {
    if (byte == 0) break;
    node ^= byte;
    if (node >= units_.size()) return std::nullopt;
    const uint32_t unit = units_[node];
    if (Label(unit) != byte) return std::nullopt;
    node ^= Offset(unit);
    if (!HasLeaf(unit)) continue;
    if (node >= units_.size()) return std::nullopt;
    const size_t begin = Value(units_[node]);
    if (begin > replacements_.size()) return std::nullopt;
    std::string_view rest = std::string_view(replacements_).substr(begin);
    rest = rest.substr(0, rest.find('\0'));
    // A hostile offset may point into a character.
    if (!rest.empty() && IsUtf8Continuation(static_cast<unsigned char>(rest[0])))
      return std::nullopt;
    return rest;
  }
  return std::nullopt;
}

}  // namespace tessera::server
