// GPT-2's printable form of bytes: every byte as one character, so that a byte string can be kept
// in a JSON vocabulary (openai/gpt-2, encoder.py, bytes_to_unicode).
#ifndef TESSERA_SERVER_TEXT_BYTE_LEVEL_H_
#define TESSERA_SERVER_TEXT_BYTE_LEVEL_H_

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace tessera::server {

// GPT-2's split pattern, the default of the ByteLevel pre-tokenizer.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

char32_t ByteToChar(unsigned char byte);
// The byte that a character stands for, or -1.
int CharToByte(char32_t c);

// The bytes of a token in printable form; none where a character stands for no byte.
std::optional<std::string> BytesOfPrintable(std::string_view token);
std::string PrintableOfBytes(std::string_view bytes);

// The value of a byte-fallback token "<0xHH>", or -1.
int ByteFallbackValue(std::string_view token);
std::string ByteFallbackToken(unsigned char byte);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_BYTE_LEVEL_H_
