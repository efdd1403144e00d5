#include "server/text/unicode.h"

#include <oniguruma.h>
#include <utf8proc.h>

#include <memory>

#include "server/text/utf8.h"

namespace tessera::server {
namespace {

OnigCtype CtypeNamed(std::string_view name) {
  auto* begin = reinterpret_cast<OnigUChar*>(const_cast<char*>(name.data()));
  return static_cast<OnigCtype>(
      ONIGENC_PROPERTY_NAME_TO_CTYPE(ONIG_ENCODING_UTF8, begin, begin + name.size()));
}

// Oniguruma's ctype number of each general category, in the order of Category.
std::array<OnigCtype, 30> CategoryCtypes() {
  static constexpr const char* kNames[] = {
      "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
      "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
  OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
  onig_initialize(encodings, 1);
  std::array<OnigCtype, 30> ctypes;
  for (size_t i = 0; i < ctypes.size(); ++i) ctypes[i] = CtypeNamed(kNames[i]);
  return ctypes;
}

CharInfo Describe(char32_t c) {
  static const std::array<OnigCtype, 30> ctypes = CategoryCtypes();
  const auto is = [&](OnigCtype ctype) {
    return ONIGENC_IS_CODE_CTYPE(ONIG_ENCODING_UTF8, c, ctype) != 0;
  };
  // utf8proc's answer is nearly always Oniguruma's too, and saves the search.
  size_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (!is(ctypes[category])) {
    category = 0;
    for (size_t i = 1; i < ctypes.size(); ++i) {
      if (is(ctypes[i])) category = i;
    }
  }
  CharInfo info = static_cast<CharInfo>(category);
  if (is(ONIGENC_CTYPE_SPACE)) info |= kSpaceFlag;
  // Not Oniguruma's own class, which for U+0080 to U+00FF depends on where it stands in a pattern.
  static const OnigCtype alphabetic = CtypeNamed("Alphabetic");
  constexpr CategorySet kWordCategories = kMarks | Bit(Category::kNd) | Bit(Category::kPc);
  if (is(alphabetic) || (kWordCategories >> category & 1) || c == 0x200C || c == 0x200D) {
    info |= kWordFlag;
  }
  return info;
}

// Whether the nearest character that is not case-ignorable (marks, modifiers, apostrophes and such)
// in the given direction is a cased one (Unicode 15, table 3-17).
bool CasedNeighbour(std::string_view text, size_t pos, bool forward) {
  constexpr CategorySet kIgnorable = Bit(Category::kMn) | Bit(Category::kMe) | Bit(Category::kCf) |
                                     Bit(Category::kLm) | Bit(Category::kSk);
  while (forward ? pos < text.size() : pos > 0) {
    size_t at = forward ? pos : PreviousChar(text, pos);
    const size_t begin = at;
    const char32_t c = NextChar(text, &at);
    pos = forward ? at : begin;
    const bool break_ignorable = c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x387 ||
                                 c == 0x2018 || c == 0x2019 || c == 0x2024 || c == 0x2027;
    if (break_ignorable || In(kIgnorable, c)) continue;
    return In(Bit(Category::kLu) | Bit(Category::kLl) | Bit(Category::kLt), c);
  }
  return false;
}

}  // namespace

std::array<std::atomic<const CharInfo*>, 0x1100> CharTable::blocks_ = {};

const CharInfo* CharTable::Fill(uint32_t block) {
  auto infos = std::make_unique<CharInfo[]>(256);
  for (uint32_t i = 0; i < 256; ++i) infos[i] = Describe(block << 8 | i);
  const CharInfo* expected = nullptr;
  if (blocks_[block].compare_exchange_strong(expected, infos.get(), std::memory_order_acq_rel)) {
    return infos.release();  // lives as long as the process, like the table
  }
  return expected;
}

bool IsBertPunctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  }
  return In(kPunctuation, c);
}

bool IsBertIdeograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

std::u32string LowerCase(char32_t c) {
  // The only lowercase form of several characters (Unicode's SpecialCasing.txt).
  if (c == 0x130) return {U'i', 0x307};
  return {static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)))};
}

std::u32string UpperCase(char32_t c) {
  const auto upper = static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
  if (upper != c || c < 0x80 || !In(Bit(Category::kLl), c)) return {upper};
  // Letters such as U+00DF whose uppercase form is several characters: their case folding gives
  // those in lowercase.
  utf8proc_uint8_t* folded = nullptr;
  const std::string bytes = ToUtf8(c);
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()),
                                   static_cast<utf8proc_ssize_t>(bytes.size()), &folded,
                                   static_cast<utf8proc_option_t>(UTF8PROC_CASEFOLD));
  if (length < 0 || folded == nullptr) return {c};
  const std::unique_ptr<utf8proc_uint8_t, decltype(&free)> owner(folded, &free);
  std::u32string out;
  const std::string_view text(reinterpret_cast<const char*>(folded), static_cast<size_t>(length));
  for (size_t pos = 0; pos < text.size();) {
    const char32_t part = NextChar(text, &pos);
    out.push_back(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(part))));
  }
  return out.size() > 1 ? out : std::u32string{c};
}

std::string LowerCaseText(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    const char32_t c = NextChar(text, &pos);
    if (c == 0x3A3 && CasedNeighbour(text, begin, false) && !CasedNeighbour(text, pos, true)) {
      AppendUtf8(0x3C2, &out);
      continue;
    }
    for (char32_t lower : LowerCase(c)) AppendUtf8(lower, &out);
  }
  return out;
}

std::string UpperCaseText(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    for (char32_t upper : UpperCase(NextChar(text, &pos))) AppendUtf8(upper, &out);
  }
  return out;
}

}  // namespace tessera::server
