// SentencePiece's compiled normalization rules (the Precompiled normalizer): a double-array trie
// (Darts-clone's units) from byte strings to offsets into a block of replacement strings.
#ifndef TESSERA_SERVER_TEXT_PRECOMPILED_CHARSMAP_H_
#define TESSERA_SERVER_TEXT_PRECOMPILED_CHARSMAP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::server {

// Immutable; thread-safe.
class PrecompiledCharsmap {
 public:
  // `blob`: the trie's size in bytes as a little-endian uint32, the trie, the replacement strings,
  // each ended by a zero byte. INVALID_ARGUMENT where it is not so.
  static absl::StatusOr<PrecompiledCharsmap> Parse(std::string_view blob);

  // What the shortest rule that matches at the start of `text` puts in the place of all of it; none
  // where no rule matches.
  std::optional<std::string_view> Transform(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_PRECOMPILED_CHARSMAP_H_
