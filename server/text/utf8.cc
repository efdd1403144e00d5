#include "server/text/utf8.h"

#include <cstring>

namespace tessera::server {
namespace {

// The length of the run of ASCII at the start.
size_t AsciiRun(std::string_view text, size_t pos) {
  const size_t start = pos;
  while (pos + 8 <= text.size()) {
    uint64_t word;
    std::memcpy(&word, text.data() + pos, 8);
    if (word & 0x8080808080808080u) break;
    pos += 8;
  }
  while (pos < text.size() && static_cast<unsigned char>(text[pos]) < 0x80) ++pos;
  return pos - start;
}

}  // namespace

void AppendUtf8(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | c >> 6));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | c >> 12));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | c >> 18));
    out->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

std::string ToUtf8(char32_t c) {
  std::string out;
  AppendUtf8(c, &out);
  return out;
}

size_t CountChars(std::string_view text) {
  size_t count = 0;
  for (unsigned char byte : text) count += !IsUtf8Continuation(byte);
  return count;
}

Utf8Prefix ReadUtf8(std::string_view bytes) {
  using Kind = Utf8Prefix::Kind;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {Kind::kCharacter, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Kind::kInvalid, 1};
  const size_t length = Utf8Length(lead);
  // The second byte of some leads is narrower (Unicode 15, table 3-7).
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Kind::kIncomplete, i};
    const bool fits = i == 1 ? byte(1) >= low && byte(1) <= high : IsUtf8Continuation(byte(i));
    if (!fits) return {Kind::kInvalid, i};
  }
  return {Kind::kCharacter, length};
}

size_t FindInvalidUtf8(std::string_view text) {
  size_t pos = 0;
  while (true) {
    pos += AsciiRun(text, pos);
    if (pos == text.size()) return std::string_view::npos;
    const Utf8Prefix prefix = ReadUtf8(text.substr(pos));
    if (prefix.kind != Utf8Prefix::Kind::kCharacter) return pos;
    pos += prefix.length;
  }
}

size_t AppendLossy(std::string_view bytes, std::string* out) {
  size_t pos = 0;
  size_t copied = 0;  // bytes before it are in out
  while (true) {
    pos += AsciiRun(bytes, pos);
    if (pos == bytes.size()) break;
    const Utf8Prefix prefix = ReadUtf8(bytes.substr(pos));
    if (prefix.kind == Utf8Prefix::Kind::kCharacter) {
      pos += prefix.length;
      continue;
    }
    out->append(bytes.substr(copied, pos - copied));
    if (prefix.kind == Utf8Prefix::Kind::kIncomplete) return prefix.length;
    out->append(kReplacementCharacter);
    pos += prefix.length;
    copied = pos;
  }
  out->append(bytes.substr(copied));
  return 0;
}

}  // namespace tessera::server
