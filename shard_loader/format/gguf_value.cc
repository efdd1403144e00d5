#include <cstring>

#include "shard_loader/format/gguf.h"

namespace tessera::shard_loader {
namespace {

template <typename T>
T Get(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

std::optional<int64_t> IntegerAt(GgufType type, const char* bytes) {
  switch (type) {
    case GgufType::kU8:
      return Get<uint8_t>(bytes);
    case GgufType::kI8:
      return Get<int8_t>(bytes);
    case GgufType::kU16:
      return Get<uint16_t>(bytes);
    case GgufType::kI16:
      return Get<int16_t>(bytes);
    case GgufType::kU32:
      return Get<uint32_t>(bytes);
    case GgufType::kI32:
      return Get<int32_t>(bytes);
    case GgufType::kI64:
      return Get<int64_t>(bytes);
    case GgufType::kU64: {
      const auto value = Get<int64_t>(bytes);
      return value < 0 ? std::nullopt : std::optional(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> NumberAt(GgufType type, const char* bytes) {
  if (type == GgufType::kF32) return Get<float>(bytes);
  if (type == GgufType::kF64) return Get<double>(bytes);
  const std::optional<int64_t> integer = IntegerAt(type, bytes);
  return integer ? std::optional(static_cast<double>(*integer)) : std::nullopt;
}

}  // namespace

std::optional<int64_t> GgufValue::Integer() const {
  return is_array ? std::nullopt : IntegerAt(type, bytes.data());
}

std::optional<double> GgufValue::Number() const {
  return is_array ? std::nullopt : NumberAt(type, bytes.data());
}

std::optional<bool> GgufValue::Bool() const {
  if (is_array || type != GgufType::kBool) return std::nullopt;
  return bytes[0] != 0;
}

std::optional<std::string_view> GgufValue::Text() const {
  if (is_array || type != GgufType::kString) return std::nullopt;
  return std::string_view(bytes).substr(sizeof(uint64_t));
}

std::vector<std::string_view> GgufValue::Texts() const {
  std::vector<std::string_view> texts;
  if (!is_array || type != GgufType::kString) return texts;
  texts.reserve(count);
  std::string_view rest = bytes;
  for (uint64_t i = 0; i < count; ++i) {
    const auto size = Get<uint64_t>(rest.data());
    texts.push_back(rest.substr(sizeof(uint64_t), size));
    rest.remove_prefix(sizeof(uint64_t) + size);
  }
  return texts;
}

std::vector<double> GgufValue::Numbers() const {
  std::vector<double> numbers;
  if (!is_array || count == 0) return numbers;
  const size_t size = bytes.size() / count;
  for (uint64_t i = 0; i < count; ++i) {
    const std::optional<double> number = NumberAt(type, bytes.data() + i * size);
    if (!number) return {};
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace tessera::shard_loader
