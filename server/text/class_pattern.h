// A matcher for the patterns that tokenizers split text with: alternatives that are sequences of
// character classes with counts, such as
//   (?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
//   ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// It finds what Oniguruma finds, without a stack per character and some ten times faster.
#ifndef TESSERA_SERVER_TEXT_CLASS_PATTERN_H_
#define TESSERA_SERVER_TEXT_CLASS_PATTERN_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/text/unicode.h"

namespace tessera::server {

// A set of characters as a bracket expression writes it.
struct CharClass {
  std::array<bool, 128> ascii = {};  // the answer for ASCII, negation included
  CategorySet categories = 0;
  bool space = false, not_space = false;
  std::vector<std::pair<char32_t, char32_t>> ranges;  // first and last
  bool negated = false;

  bool Contains(char32_t c) const { return c < 128 ? ascii[c] : ContainsOther(c); }
  bool ContainsOther(char32_t c) const;
  void FillAscii();  // from the other members
};

// Immutable; thread-safe.
class ClassPattern {
 public:
  // None where the pattern is not of this shape, or could match the empty text.
  static std::optional<ClassPattern> Parse(std::string_view pattern);

  // Calls `found(begin, end)` for each match in turn, as Regex::FindAll does. `text` is UTF-8.
  // INVALID_ARGUMENT where a hostile pattern makes the work grow faster than the text.
  absl::Status FindAll(std::string_view text,
                       absl::FunctionRef<void(size_t begin, size_t end)> found) const;

 private:
  friend class ClassPatternParser;
  struct Item {
    CharClass chars;
    uint32_t min = 1, max = 1;
    bool possessive = false;
  };
  enum class Tail : uint8_t { kNone, kNotFollowedBy, kOptionalLiteral };
  struct Alternative {
    std::vector<Item> items;
    Tail tail = Tail::kNone;
    CharClass not_followed_by;
    std::vector<std::vector<CharClass>> literals;  // tried in turn, then none
  };

  size_t Match(const Alternative& alternative, size_t item, size_t pos, std::string_view text,
               int64_t* budget) const;
  size_t MatchTail(const Alternative& alternative, size_t pos, std::string_view text) const;
  // The end of the match at pos, or npos.
  size_t MatchAt(size_t pos, std::string_view text, int64_t* budget) const;

  std::vector<Alternative> alternatives_;
  std::array<uint32_t, 128> first_ = {};  // by ASCII character: the alternatives that may begin so
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_CLASS_PATTERN_H_
