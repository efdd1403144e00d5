#include "server/text/jinja_escapes.h"

#include "absl/strings/str_cat.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// `digits` hexadecimal digits at *pos.
absl::StatusOr<char32_t> ReadHex(std::string_view text, size_t digits, size_t* pos) {
  char32_t value = 0;
  for (size_t i = 0; i < digits; ++i) {
    const int digit = *pos < text.size() ? HexDigit(text[*pos]) : -1;
    if (digit < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("an escape in this string needs ", digits, " hexadecimal digits"));
    }
    value = value << 4 | static_cast<char32_t>(digit);
    ++*pos;
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
    return absl::InvalidArgumentError("an escape in this string is no character");
  }
  return value;
}

}  // namespace

absl::StatusOr<std::string> DecodeEscapes(std::string_view literal) {
  static constexpr std::string_view kSimple = "\\'\"abfnrtv";
  static constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
  std::string out;
  for (size_t pos = 0; pos < literal.size();) {
    if (literal[pos] != '\\' || pos + 1 == literal.size()) {
      out += literal[pos++];
      continue;
    }
    const char c = literal[pos + 1];
    pos += 2;
    if (const size_t simple = kSimple.find(c); simple != std::string_view::npos) {
      out += kValues[simple];
    } else if (c == '\n') {
      continue;  // a line that goes on
    } else if (c == 'x' || c == 'u' || c == 'U') {
      ASSIGN_OR_RETURN(const char32_t value, ReadHex(literal,
                                                     c == 'x'   ? 2
                                                     : c == 'u' ? 4
                                                                : 8,
                                                     &pos));
      AppendUtf8(value, &out);
    } else if (c >= '0' && c <= '7') {
      char32_t value = static_cast<char32_t>(c - '0');
      for (int i = 0; i < 2 && pos < literal.size() && literal[pos] >= '0' && literal[pos] <= '7';
           ++i) {
        value = value * 8 + static_cast<char32_t>(literal[pos++] - '0');
      }
      AppendUtf8(value, &out);
    } else {
      out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace tessera::server::jinja
