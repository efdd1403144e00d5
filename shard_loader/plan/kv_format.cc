#include "shard_loader/plan/kv_format.h"

namespace tessera::shard_loader {

KvFormat KvFormat::Int8() {
  KvFormat format;
  format.int8 = true;
  return format;
}

std::string KvFormatName(const KvFormat& format) {
  return format.int8 ? "int8" : DTypeName(format.dtype);
}

std::optional<KvFormat> ParseKvFormat(std::string_view name) {
  for (const KvFormat& format :
       {KvFormat(DType::kF32), KvFormat(DType::kF16), KvFormat(DType::kBF16), KvFormat::Int8()}) {
    if (name == KvFormatName(format)) return format;
  }
  return std::nullopt;
}

}  // namespace tessera::shard_loader
