#include "shard_loader/format/pickle_text.h"

#include <charconv>
#include <cstdint>

namespace tessera::shard_loader {
namespace {

bool ParseDigits(std::string_view digits, int base, uint32_t* value) {
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, *value, base);
  return !digits.empty() && error == std::errc() && stop == end;
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xc0 | code >> 6));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | code >> 12));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xf0 | code >> 18));
    out->push_back(static_cast<char>(0x80 | (code >> 12 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

size_t OctalLength(std::string_view text) {
  size_t length = 0;
  while (length < 3 && length < text.size() && text[length] >= '0' && text[length] <= '7') ++length;
  return length;
}

// The escape whose letter begins `text`; returns how many characters it takes, 0 where broken.
size_t Escape(std::string_view text, std::string* out) {
  constexpr std::string_view kLetters = "abfnrtv\\'\"";
  constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
  const size_t simple = kLetters.find(text[0]);
  if (simple != kLetters.npos) {
    out->push_back(kMeanings[simple]);
    return 1;
  }
  uint32_t value = 0;
  if (text[0] == 'x') {
    if (text.size() < 3 || !ParseDigits(text.substr(1, 2), 16, &value)) return 0;
    out->push_back(static_cast<char>(value));
    return 3;
  }
  if (const size_t octal = OctalLength(text); octal > 0) {
    ParseDigits(text.substr(0, octal), 8, &value);
    out->push_back(static_cast<char>(value));
    return octal;
  }
  out->push_back('\\');  // Python keeps the backslash of an escape that it does not know
  out->push_back(text[0]);
  return 1;
}

}  // namespace

bool UnescapeString(std::string_view literal, std::string* out) {
  if (literal.size() < 2 || literal.front() != literal.back() ||
      (literal.front() != '\'' && literal.front() != '"')) {
    return false;
  }
  literal = literal.substr(1, literal.size() - 2);
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\') {
      out->push_back(literal[i]);
      continue;
    }
    if (i + 1 == literal.size()) return false;
    const size_t taken = Escape(literal.substr(i + 1), out);
    if (taken == 0) return false;
    i += taken;
  }
  return true;
}

bool UnescapeUnicode(std::string_view line, std::string* out) {
  for (size_t i = 0; i < line.size(); ++i) {
    const char next = i + 1 < line.size() ? line[i + 1] : '\0';
    if (line[i] != '\\' || (next != 'u' && next != 'U')) {
      AppendUtf8(static_cast<uint8_t>(line[i]), out);
      continue;
    }
    const size_t digits = next == 'u' ? 4 : 8;
    uint32_t code = 0;
    if (line.size() - i - 2 < digits || !ParseDigits(line.substr(i + 2, digits), 16, &code)) {
      return false;
    }
    if (code > 0x10ffff) return false;
    AppendUtf8(code, out);
    i += digits + 1;
  }
  return true;
}

}  // namespace tessera::shard_loader
