// Properties of characters: general categories and the classes of regular expressions as Oniguruma
// has them, case and normal forms as utf8proc has them. No tables of our own.
#ifndef TESSERA_SERVER_TEXT_UNICODE_H_
#define TESSERA_SERVER_TEXT_UNICODE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::server {

// General categories in utf8proc's order (utf8proc_category_t).
enum class Category : uint8_t {
  kCn,
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCs,
  kCo
};

// A set of general categories, one bit each.
using CategorySet = uint32_t;
constexpr CategorySet Bit(Category c) { return CategorySet{1} << static_cast<int>(c); }
constexpr CategorySet Range(Category first, Category last) { return (Bit(last) << 1) - Bit(first); }
inline constexpr CategorySet kLetters = Range(Category::kLu, Category::kLo);
inline constexpr CategorySet kMarks = Range(Category::kMn, Category::kMe);
inline constexpr CategorySet kNumbers = Range(Category::kNd, Category::kNo);
inline constexpr CategorySet kPunctuation = Range(Category::kPc, Category::kPo);
inline constexpr CategorySet kSymbols = Range(Category::kSm, Category::kSo);
inline constexpr CategorySet kSeparators = Range(Category::kZs, Category::kZp);
inline constexpr CategorySet kOthers = Range(Category::kCc, Category::kCo) | Bit(Category::kCn);

// The category with the flags below.
using CharInfo = uint8_t;
inline constexpr CharInfo kCategoryMask = 0x1F;
inline constexpr CharInfo kSpaceFlag = 0x20;  // White_Space
inline constexpr CharInfo kWordFlag = 0x40;   // letters, marks, digits, connectors (UTS #18's \w)

// What Oniguruma says of c (below 0x110000); filled block by block when first asked. Thread-safe.
class CharTable {
 public:
  static CharInfo Info(char32_t c) {
    const CharInfo* block = blocks_[c >> 8].load(std::memory_order_acquire);
    if (block == nullptr) block = Fill(c >> 8);
    return block[c & 0xFF];
  }

 private:
  static const CharInfo* Fill(uint32_t block);
  static std::array<std::atomic<const CharInfo*>, 0x1100> blocks_;
};

inline Category CategoryOf(char32_t c) {
  return static_cast<Category>(CharTable::Info(c) & kCategoryMask);
}
inline bool In(CategorySet set, char32_t c) {
  return set >> (CharTable::Info(c) & kCategoryMask) & 1;
}
inline bool IsSpace(char32_t c) { return CharTable::Info(c) & kSpaceFlag; }
inline bool IsWord(char32_t c) { return CharTable::Info(c) & kWordFlag; }

// Punctuation as BERT means it: the Unicode class and every ASCII symbol.
bool IsBertPunctuation(char32_t c);
// The CJK ideograph blocks that BERT puts between spaces.
bool IsBertIdeograph(char32_t c);

// The full lower- or uppercase form, which may be several characters.
std::u32string LowerCase(char32_t c);
std::u32string UpperCase(char32_t c);
// The lowercase form of a text; a capital sigma at the end of a word becomes the final one.
std::string LowerCaseText(std::string_view text);
std::string UpperCaseText(std::string_view text);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_UNICODE_H_
