// Tokens beside the model's vocabulary, found in the text before the model sees it.
#ifndef TESSERA_SERVER_TEXT_ADDED_TOKENS_H_
#define TESSERA_SERVER_TEXT_ADDED_TOKENS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/text/aligned_text.h"
#include "server/text/byte_trie.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

struct AddedToken {
  std::string content;
  uint32_t id = 0;
  bool single_word = false;  // only where no word character stands beside it
  bool lstrip = false;       // takes the white space before it, too
  bool rstrip = false;       // and behind it
  bool normalized = true;    // looked for in the normalized text
  bool special = false;
};

// Immutable once Build has run; thread-safe then.
class AddedTokens {
 public:
  void Add(AddedToken token);
  // `normalized`: what becomes of each token's content in the normal form, in the order of
  // tokens().
  void Build(const std::vector<std::string>& normalized);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  std::optional<uint32_t> Find(std::string_view content) const;
  // nullptr where no added token has the id.
  const AddedToken* ById(uint32_t id) const;
  bool IsSpecial(std::string_view content) const;
  // A control token from now on, also where the file does not call it special.
  void MarkControl(std::string_view content);
  bool has_normalized() const { return !normalized_.empty(); }

  // A piece of `in`: an added token, or text between two (no id).
  using Sink =
      absl::FunctionRef<absl::Status(const TextView& piece, std::optional<uint32_t> token)>;
  // Hands out the pieces in order, without empty ones. Control tokens that touch a range of `plain`
  // (of the input's bytes, ascending) are not found.
  absl::Status Split(const TextView& in, bool normalized, absl::Span<const ByteRange> plain,
                     Sink sink) const;

 private:
  struct Match {
    size_t length = 0;
    const AddedToken* token = nullptr;
  };
  Match LongestAt(const ByteTrie& trie, std::string_view text) const;

  std::vector<AddedToken> tokens_;  // special ones first, then the others, each in their order
  absl::flat_hash_map<std::string, uint32_t> ids_;
  absl::flat_hash_map<uint32_t, size_t> by_id_;
  absl::flat_hash_set<std::string> special_;
  absl::flat_hash_set<std::string> control_;  // special ones and others that are named as such
  ByteTrie as_written_, normalized_;          // to indices of tokens_
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_ADDED_TOKENS_H_
