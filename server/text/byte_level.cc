#include "server/text/byte_level.h"

#include "server/text/utf8.h"

namespace tessera::server {
namespace {

struct Maps {
  std::array<char32_t, 256> to_char;
  std::array<int, 0x144> to_byte;  // the highest character is U+0143
};

const Maps& ByteMaps() {
  static const Maps maps = [] {
    Maps made;
    made.to_byte.fill(-1);
    char32_t next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      const char32_t c = printable ? static_cast<char32_t>(byte) : next++;
      made.to_char[static_cast<size_t>(byte)] = c;
      made.to_byte[c] = byte;
    }
    return made;
  }();
  return maps;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

char32_t ByteToChar(unsigned char byte) { return ByteMaps().to_char[byte]; }

int CharToByte(char32_t c) {
  const Maps& maps = ByteMaps();
  return c < maps.to_byte.size() ? maps.to_byte[c] : -1;
}

std::optional<std::string> BytesOfPrintable(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (size_t pos = 0; pos < token.size();) {
    const int byte = CharToByte(NextChar(token, &pos));
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

std::string PrintableOfBytes(std::string_view bytes) {
  std::string out;
  for (unsigned char byte : bytes) AppendUtf8(ByteToChar(byte), &out);
  return out;
}

int ByteFallbackValue(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  const int high = HexDigit(token[3]);
  const int low = HexDigit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string ByteFallbackToken(unsigned char byte) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + '>';
}

}  // namespace tessera::server
