// UTF-8 as bytes: reading and writing characters, checking, and the replacement of what is invalid.
#ifndef TESSERA_SERVER_TEXT_UTF8_H_
#define TESSERA_SERVER_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::server {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// The length of the character that a lead byte of valid UTF-8 opens.
inline size_t Utf8Length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}
inline bool IsUtf8Continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// The character at text[pos], and pos behind it. `text` is valid UTF-8 and pos < text.size().
inline char32_t NextChar(std::string_view text, size_t* pos) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + *pos;
  if (p[0] < 0x80) {
    *pos += 1;
    return p[0];
  }
  if (p[0] < 0xE0) {
    *pos += 2;
    return (char32_t{p[0]} & 0x1F) << 6 | (p[1] & 0x3F);
  }
  if (p[0] < 0xF0) {
    *pos += 3;
    return (char32_t{p[0]} & 0x0F) << 12 | (char32_t{p[1]} & 0x3F) << 6 | (p[2] & 0x3F);
  }
  *pos += 4;
  return (char32_t{p[0]} & 0x07) << 18 | (char32_t{p[1]} & 0x3F) << 12 |
         (char32_t{p[2]} & 0x3F) << 6 | (p[3] & 0x3F);
}

// The start of the character that ends before pos; pos > 0, valid UTF-8.
inline size_t PreviousChar(std::string_view text, size_t pos) {
  do {
    --pos;
  } while (pos > 0 && IsUtf8Continuation(static_cast<unsigned char>(text[pos])));
  return pos;
}

void AppendUtf8(char32_t c, std::string* out);
std::string ToUtf8(char32_t c);

// The number of characters of valid UTF-8.
size_t CountChars(std::string_view text);

// The position of the first byte that is not part of valid UTF-8, or npos. Surrogates, overlong
// forms and values above U+10FFFF are invalid.
size_t FindInvalidUtf8(std::string_view text);

// What stands at the start of `bytes` (not empty).
struct Utf8Prefix {
  enum class Kind { kCharacter, kInvalid, kIncomplete };
  Kind kind;
  // Of the character; of the longest part of one that is to be replaced by a single U+FFFD (Unicode
  // 15, section 3.9, "substitution of maximal subparts"); or of all that is there.
  size_t length;
};
Utf8Prefix ReadUtf8(std::string_view bytes);

// Appends `bytes` with each maximal invalid part as U+FFFD. Returns how many bytes at the end were
// left out because they may become a character with what follows (0 to 3).
size_t AppendLossy(std::string_view bytes, std::string* out);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_UTF8_H_
