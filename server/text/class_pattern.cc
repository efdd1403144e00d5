#include "server/text/class_pattern.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "server/text/utf8.h"

namespace tessera::server {
namespace {

constexpr size_t kNone = std::string_view::npos;

// How many characters at `pos` lie in `chars`, at most `max`; pos moves behind them.
uint32_t Run(const CharClass& chars, uint32_t max, std::string_view text, size_t* pos) {
  uint32_t count = 0;
  size_t at = *pos;
  while (count < max && at < text.size()) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      if (!chars.ascii[byte]) break;
      ++at;
    } else {
      size_t next = at;
      if (!chars.ContainsOther(NextChar(text, &next))) break;
      at = next;
    }
    ++count;
  }
  *pos = at;
  return count;
}

}  // namespace

bool CharClass::ContainsOther(char32_t c) const {
  const CharInfo info = CharTable::Info(c);
  bool in = (categories >> (info & kCategoryMask) & 1) || (space && (info & kSpaceFlag)) ||
            (not_space && !(info & kSpaceFlag));
  for (size_t i = 0; i < ranges.size() && !in; ++i) {
    in = c >= ranges[i].first && c <= ranges[i].second;
  }
  return in != negated;
}

void CharClass::FillAscii() {
  for (char32_t c = 0; c < 128; ++c) ascii[c] = ContainsOther(c);
}

size_t ClassPattern::MatchTail(const Alternative& alternative, size_t pos,
                               std::string_view text) const {
  if (alternative.tail == Tail::kNone) return pos;
  if (alternative.tail == Tail::kNotFollowedBy) {
    if (pos == text.size()) return pos;
    size_t next = pos;
    return alternative.not_followed_by.Contains(NextChar(text, &next)) ? kNone : pos;
  }
  for (const std::vector<CharClass>& literal : alternative.literals) {
    size_t end = pos;
    size_t matched = 0;
    while (matched < literal.size() && Run(literal[matched], 1, text, &end) == 1) ++matched;
    if (matched == literal.size()) return end;
  }
  return pos;
}

size_t ClassPattern::Match(const Alternative& alternative, size_t item, size_t pos,
                           std::string_view text, int64_t* budget) const {
  if (item == alternative.items.size()) return MatchTail(alternative, pos, text);
  const Item& it = alternative.items[item];
  size_t end = pos;
  uint32_t count = Run(it.chars, it.max, text, &end);
  *budget -= count + 1;
  if (count < it.min) return kNone;
  while (true) {
    const size_t matched = Match(alternative, item + 1, end, text, budget);
    if (matched != kNone || count == it.min || it.possessive || *budget < 0) return matched;
    --count;
    end = PreviousChar(text, end);
  }
}

size_t ClassPattern::MatchAt(size_t pos, std::string_view text, int64_t* budget) const {
  const auto byte = static_cast<unsigned char>(text[pos]);
  uint32_t candidates = byte < 0x80 ? first_[byte] : ~uint32_t{0} >> (32 - alternatives_.size());
  while (candidates != 0) {
    const int index = __builtin_ctz(candidates);
    candidates &= candidates - 1;
    const size_t end = Match(alternatives_[static_cast<size_t>(index)], 0, pos, text, budget);
    if (end != kNone) return end;
  }
  return kNone;
}

absl::Status ClassPattern::FindAll(std::string_view text,
                                   absl::FunctionRef<void(size_t, size_t)> found) const {
  int64_t budget = 1'000'000 + 256 * static_cast<int64_t>(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const size_t end = MatchAt(pos, text, &budget);
    if (budget < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a pattern of the tokenizer takes too many steps in this text from byte ", pos, " on"));
    }
    if (end == kNone) {
      pos += Utf8Length(static_cast<unsigned char>(text[pos]));
    } else {
      found(pos, end);
      pos = end;
    }
  }
  return absl::OkStatus();
}

}  // namespace tessera::server
