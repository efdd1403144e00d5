// The parser of ClassPattern: it accepts what it is sure of, and leaves the rest to Oniguruma.
#include <algorithm>
#include <limits>

#include "server/text/class_pattern.h"
#include "server/text/utf8.h"

namespace tessera::server {
namespace {

constexpr uint32_t kUnbounded = std::numeric_limits<uint32_t>::max();
constexpr uint32_t kMaxCount = 1000;
constexpr size_t kMaxItems = 64;  // of an alternative; the matcher recurses once per item

std::optional<CategorySet> CategoriesNamed(std::string_view name) {
  static constexpr std::pair<std::string_view, CategorySet> kNames[] = {{"L", kLetters},
                                                                        {"M", kMarks},
                                                                        {"N", kNumbers},
                                                                        {"P", kPunctuation},
                                                                        {"S", kSymbols},
                                                                        {"Z", kSeparators},
                                                                        {"Lu", Bit(Category::kLu)},
                                                                        {"Ll", Bit(Category::kLl)},
                                                                        {"Lt", Bit(Category::kLt)},
                                                                        {"Lm", Bit(Category::kLm)},
                                                                        {"Lo", Bit(Category::kLo)},
                                                                        {"Mn", Bit(Category::kMn)},
                                                                        {"Mc", Bit(Category::kMc)},
                                                                        {"Me", Bit(Category::kMe)},
                                                                        {"Nd", Bit(Category::kNd)},
                                                                        {"Nl", Bit(Category::kNl)},
                                                                        {"No", Bit(Category::kNo)},
                                                                        {"Sm", Bit(Category::kSm)},
                                                                        {"Sc", Bit(Category::kSc)},
                                                                        {"Sk", Bit(Category::kSk)},
                                                                        {"So", Bit(Category::kSo)}};
  for (const auto& [known, set] : kNames) {
    if (known == name) return set;
  }
  return std::nullopt;
}

// Contractions whose characters fold one to one, except s, which also stands for U+017F.
bool FoldsSimply(std::string_view literal) {
  static constexpr std::string_view kKnown[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
  return std::find(std::begin(kKnown), std::end(kKnown), literal) != std::end(kKnown);
}

CharClass Single(char32_t c, bool any_case) {
  CharClass chars;
  chars.ranges.emplace_back(c, c);
  if (any_case && c >= 'a' && c <= 'z') chars.ranges.emplace_back(c - 32, c - 32);
  if (any_case && c == 's') chars.ranges.emplace_back(0x17F, 0x17F);
  chars.FillAscii();
  return chars;
}

}  // namespace

// A recursive-descent reader; every function returns false where it meets what it does not know.
class ClassPatternParser {
 public:
  explicit ClassPatternParser(std::string_view pattern) : in_(pattern) {}

  std::optional<ClassPattern> Parse() {
    if (in_.empty() || FindInvalidUtf8(in_) != std::string_view::npos) return std::nullopt;
    while (true) {
      if (!ReadAlternative()) return std::nullopt;
      if (pos_ == in_.size()) break;
      if (!Take("|")) return std::nullopt;
    }
    if (pattern_.alternatives_.size() > 32) return std::nullopt;
    FillFirst();
    return std::move(pattern_);
  }

 private:
  using Item = ClassPattern::Item;
  using Alternative = ClassPattern::Alternative;
  using Tail = ClassPattern::Tail;

  bool Take(std::string_view token) {
    if (in_.substr(pos_, token.size()) != token) return false;
    pos_ += token.size();
    return true;
  }
  bool AtEnd() const { return pos_ == in_.size() || in_[pos_] == '|'; }

  bool ReadAlternative() {
    Alternative alternative;
    while (!AtEnd()) {
      if (in_[pos_] == '(') return ReadGroup(&alternative);
      Item item;
      if (!ReadAtom(&item.chars) || !ReadCount(&item)) return false;
      alternative.items.push_back(std::move(item));
      if (alternative.items.size() > kMaxItems) return false;
    }
    return Finish(std::move(alternative));
  }

  bool Finish(Alternative alternative) {
    const bool consumes = std::any_of(alternative.items.begin(), alternative.items.end(),
                                      [](const Item& item) { return item.min > 0; });
    if (!consumes) return false;
    pattern_.alternatives_.push_back(std::move(alternative));
    return true;
  }

  // A group is taken at the end of an alternative only: (?!C), (?i:'s|'t), (?i:'s|'t)?.
  bool ReadGroup(Alternative* alternative) {
    if (Take("(?!")) {
      alternative->tail = Tail::kNotFollowedBy;
      if (!ReadAtom(&alternative->not_followed_by) || !Take(")") || !AtEnd()) return false;
      return Finish(std::move(*alternative));
    }
    const bool any_case = Take("(?i:");
    if (!any_case && !Take("(?:")) return false;
    std::vector<std::vector<CharClass>> literals;
    if (!ReadLiterals(any_case, &literals)) return false;
    if (Take("?")) {
      if (!AtEnd()) return false;
      alternative->tail = Tail::kOptionalLiteral;
      alternative->literals = std::move(literals);
      return Finish(std::move(*alternative));
    }
    if (!alternative->items.empty() || !AtEnd()) return false;
    for (const std::vector<CharClass>& literal : literals) {
      Alternative one;
      for (const CharClass& chars : literal) one.items.push_back({.chars = chars});
      if (!Finish(std::move(one))) return false;
    }
    return true;
  }

  bool ReadLiterals(bool any_case, std::vector<std::vector<CharClass>>* literals) {
    const size_t close = in_.find(')', pos_);
    if (close == std::string_view::npos) return false;
    std::string_view inside = in_.substr(pos_, close - pos_);
    pos_ = close + 1;
    while (true) {
      const size_t bar = std::min(inside.find('|'), inside.size());
      const std::string_view literal = inside.substr(0, bar);
      // These hold no character with a meaning of its own.
      if (!FoldsSimply(literal)) return false;
      std::vector<CharClass> chars;
      for (char c : literal) chars.push_back(Single(static_cast<unsigned char>(c), any_case));
      literals->push_back(std::move(chars));
      if (bar == inside.size()) return true;
      inside.remove_prefix(bar + 1);
    }
  }

  // A class, an escape or a plain character.
  bool ReadAtom(CharClass* chars) {
    if (pos_ == in_.size()) return false;
    const char c = in_[pos_];
    if (c == '[') return ReadBracket(chars);
    if (c == '\\') {
      if (!ReadEscape(chars)) return false;
    } else if (std::string_view(".^$*+?{}()|]").find(c) != std::string_view::npos) {
      return false;
    } else {
      const char32_t plain = NextChar(in_, &pos_);
      chars->ranges.emplace_back(plain, plain);
    }
    chars->FillAscii();
    return true;
  }

  bool ReadBracket(CharClass* chars) {
    ++pos_;
    const bool negated = Take("^");
    while (pos_ < in_.size() && in_[pos_] != ']') {
      if (in_[pos_] == '[' || in_.substr(pos_, 2) == "&&") return false;
      const size_t before = chars->ranges.size();
      if (in_[pos_] == '\\') {
        if (!ReadEscape(chars)) return false;
      } else if (in_[pos_] == '-') {
        return false;  // only meant as a range behind a character, read below
      } else {
        const char32_t c = NextChar(in_, &pos_);
        chars->ranges.emplace_back(c, c);
      }
      if (pos_ + 1 < in_.size() && in_[pos_] == '-' && in_[pos_ + 1] != ']') {
        if (chars->ranges.size() == before || !ReadRangeEnd(chars)) return false;
      }
    }
    if (!Take("]")) return false;
    if (chars->ranges.empty() && chars->categories == 0 && !chars->space && !chars->not_space) {
      return false;
    }
    chars->negated = negated;
    chars->FillAscii();
    return true;
  }

  bool ReadRangeEnd(CharClass* chars) {
    ++pos_;
    if (in_[pos_] == '\\' || in_[pos_] == '[') return false;
    const char32_t last = NextChar(in_, &pos_);
    if (last < chars->ranges.back().first) return false;
    chars->ranges.back().second = last;
    return true;
  }

  bool ReadEscape(CharClass* chars) {
    ++pos_;
    if (pos_ == in_.size()) return false;
    const char c = in_[pos_++];
    switch (c) {
      case 's':
        chars->space = true;
        return true;
      case 'S':
        chars->not_space = true;
        return true;
      case 'd':
        chars->categories |= Bit(Category::kNd);
        return true;
      case 'r':
        chars->ranges.emplace_back('\r', '\r');
        return true;
      case 'n':
        chars->ranges.emplace_back('\n', '\n');
        return true;
      case 't':
        chars->ranges.emplace_back('\t', '\t');
        return true;
      case 'p': {
        const size_t close = in_.find('}', pos_);
        if (!Take("{") || close == std::string_view::npos) return false;
        const auto set = CategoriesNamed(in_.substr(pos_, close - pos_));
        if (!set) return false;
        chars->categories |= *set;
        pos_ = close + 1;
        return true;
      }
      default:
        if (std::string_view("\\.^$*+?{}()|[]-/'\"#&~! ").find(c) == std::string_view::npos) {
          return false;
        }
        chars->ranges.emplace_back(c, c);
        return true;
    }
  }

  bool ReadCount(Item* item) {
    if (Take("{")) {
      if (!ReadNumber(&item->min)) return false;
      item->max = item->min;
      if (Take(",")) {
        item->max = kUnbounded;
        if (pos_ < in_.size() && in_[pos_] != '}' && !ReadNumber(&item->max)) return false;
      }
      // What follows {n,m} changes its meaning in ways that differ between engines.
      return item->max >= item->min && item->max > 0 && Take("}") && NoSuffix();
    }
    if (Take("?")) {
      item->min = 0;
    } else if (Take("*")) {
      item->min = 0;
      item->max = kUnbounded;
    } else if (Take("+")) {
      item->max = kUnbounded;
    } else {
      return true;
    }
    item->possessive = Take("+");
    return NoSuffix();
  }
  bool NoSuffix() const {
    return pos_ == in_.size() || std::string_view("?*+{").find(in_[pos_]) == std::string_view::npos;
  }
  bool ReadNumber(uint32_t* value) {
    const size_t start = pos_;
    *value = 0;
    while (pos_ < in_.size() && in_[pos_] >= '0' && in_[pos_] <= '9' && *value <= kMaxCount) {
      *value = *value * 10 + static_cast<uint32_t>(in_[pos_++] - '0');
    }
    return pos_ > start && *value <= kMaxCount;
  }

  void FillFirst() {
    for (size_t i = 0; i < pattern_.alternatives_.size(); ++i) {
      for (const Item& item : pattern_.alternatives_[i].items) {
        for (size_t c = 0; c < 128; ++c) {
          if (item.chars.ascii[c]) pattern_.first_[c] |= uint32_t{1} << i;
        }
        if (item.min > 0) break;
      }
    }
  }

  std::string_view in_;
  size_t pos_ = 0;
  ClassPattern pattern_;
};

std::optional<ClassPattern> ClassPattern::Parse(std::string_view pattern) {
  return ClassPatternParser(pattern).Parse();
}

}  // namespace tessera::server
