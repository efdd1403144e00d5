// How numbers lie in a checkpoint of any format, quantised blocks among them.
#ifndef TESSERA_SHARD_LOADER_FORMAT_STORED_TYPE_H_
#define TESSERA_SHARD_LOADER_FORMAT_STORED_TYPE_H_

#include <cstdint>
#include <string_view>

namespace tessera::shard_loader {

enum class StoredType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
  kComplex64,
  kComplex128,
  // GGML blocks (format/ggml_blocks.h).
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4K,
  kQ5K,
  kQ6K,
  kMxfp4,      // format/mxfp4.h; its scales lie elsewhere
  kScaledFp8,  // E4M3 (format/fp8.h), whose scales lie elsewhere
  kOther,      // of a size that is no whole number of bytes, or not known; never read
};

// `elements` neighbours along the last dimension take `bytes` bytes together.
struct StoredBlock {
  int64_t elements = 1;
  int64_t bytes = 1;
};

StoredBlock BlockOf(StoredType type);

// "f32", "q4_k": as in reports.
std::string_view StoredTypeName(StoredType type);

// Whether weights can be read from it: floating-point numbers of 16 and 32 bits, and blocks.
bool IsWeightType(StoredType type);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_STORED_TYPE_H_
