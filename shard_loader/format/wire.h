// The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), read by hand:
// varints and fields, no more than what checkpoints of other frameworks need.
#ifndef TESSERA_SHARD_LOADER_FORMAT_WIRE_H_
#define TESSERA_SHARD_LOADER_FORMAT_WIRE_H_

#include <cstdint>
#include <cstring>
#include <string_view>

namespace tessera::shard_loader {

// Takes a varint off the front; false where it is cut off or longer than 64 bits.
inline bool TakeVarint(std::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (bytes->empty()) return false;
    const auto byte = static_cast<uint8_t>(bytes->front());
    bytes->remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// A field of a message: its number and, by its wire type, `value` or `text`.
struct WireField {
  uint64_t number = 0;
  int type = 0;
  uint64_t value = 0;     // types 0 (varint), 1 (8 bytes), 5 (4 bytes)
  std::string_view text;  // type 2
};

// Takes a field off the front; false where it is malformed or of a group.
inline bool TakeField(std::string_view* bytes, WireField* field) {
  uint64_t key = 0;
  if (!TakeVarint(bytes, &key)) return false;
  *field = {.number = key >> 3, .type = static_cast<int>(key & 7)};
  if (field->type == 0) return TakeVarint(bytes, &field->value);
  uint64_t size = field->type == 1 ? 8 : 4;
  if (field->type == 2 && !TakeVarint(bytes, &size)) return false;
  if (field->type > 2 && field->type != 5) return false;
  if (size > bytes->size()) return false;
  const std::string_view payload = bytes->substr(0, size);
  bytes->remove_prefix(size);
  if (field->type == 2) {
    field->text = payload;
  } else {
    std::memcpy(&field->value, payload.data(), size);
  }
  return true;
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_WIRE_H_
