// How keys and values are held in a cache: numbers of 16 or 32 bits, or integers of 8 bits with a
// scale for every token and KV head.
#ifndef TESSERA_SHARD_LOADER_PLAN_KV_FORMAT_H_
#define TESSERA_SHARD_LOADER_PLAN_KV_FORMAT_H_

#include <optional>
#include <string>
#include <string_view>

#include "shard_loader/model/dtype.h"

namespace tessera::shard_loader {

struct KvFormat {
  KvFormat() = default;
  KvFormat(DType dtype) : dtype(dtype) {}  // NOLINT: a dtype is a format
  static KvFormat Int8();

  DType dtype = DType::kF32;  // of the elements; with int8 of the scales: fp32
  // A key is its scale times integers in [-127, 127], and so is a value with a scale of its own.
  // Both depend on the token alone, so that neither batch nor chunks nor degrees touch them.
  bool int8 = false;

  friend bool operator==(const KvFormat&, const KvFormat&) = default;
};

// "f32", "f16", "bf16", "int8", as in flags and reports.
std::string KvFormatName(const KvFormat& format);
// What KvFormatName gives; absent for anything else.
std::optional<KvFormat> ParseKvFormat(std::string_view name);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_KV_FORMAT_H_
