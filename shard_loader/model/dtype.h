// Number formats of weights as they lie in a checkpoint.
#ifndef TESSERA_SHARD_LOADER_MODEL_DTYPE_H_
#define TESSERA_SHARD_LOADER_MODEL_DTYPE_H_

#include <cstdint>

namespace tessera::shard_loader {

enum class DType { kF32, kF16, kBF16 };

// Bytes of one element.
constexpr int64_t DTypeSize(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

// "f32", "f16", "bf16", as in flags and reports.
constexpr const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
  }
  return "?";
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_DTYPE_H_
