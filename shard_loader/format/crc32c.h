// CRC-32C (Castagnoli; RFC 3720, appendix B.4), as TensorFlow and TensorStore protect their
// indexes.
#ifndef TESSERA_SHARD_LOADER_FORMAT_CRC32C_H_
#define TESSERA_SHARD_LOADER_FORMAT_CRC32C_H_

#include <array>
#include <cstdint>
#include <string_view>

namespace tessera::shard_loader {

inline uint32_t Crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) * 0x82f63b78u);
      table[i] = value;
    }
    return table;
  }();
  uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  }
  return ~crc;
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_CRC32C_H_
