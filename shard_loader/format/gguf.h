// GGUF, versions 2 and 3, little-endian (github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic,
// counts, metadata, tensor headers, then aligned data.
#ifndef TESSERA_SHARD_LOADER_FORMAT_GGUF_H_
#define TESSERA_SHARD_LOADER_FORMAT_GGUF_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

// As numbered in the file.
enum class GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

// A metadata value, kept as its bytes.
struct GgufValue {
  GgufType type = GgufType::kU8;  // of the elements, where it is an array
  bool is_array = false;
  uint64_t count = 1;
  std::string bytes;

  // Absent where the value is of another kind, an array, or does not fit.
  std::optional<int64_t> Integer() const;
  std::optional<double> Number() const;  // of integers too
  std::optional<bool> Bool() const;
  std::optional<std::string_view> Text() const;
  // Of arrays; empty where the elements are of another kind.
  std::vector<std::string_view> Texts() const;
  std::vector<double> Numbers() const;
};

// Immutable, thread-safe.
class GgufFile {
 public:
  // Reads metadata and tensor headers. DATA_LOSS: no GGUF, truncated, or anything that the format
  // does not allow: overlaps, an alignment that is no power of two, two equal names.
  // UNIMPLEMENTED: version 1, big-endian, quantisations other than those of StoredType.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Read(const ByteSource& file);

  // Blocks have the shape of their elements; the last dimension is the one that GGUF lists first.
  const TensorIndex& index() const { return index_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  // Null where there is none.
  const GgufValue* Find(std::string_view key) const;

 private:
  friend class GgufReader;
  GgufFile() = default;

  TensorIndex index_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
};

bool LooksLikeGguf(std::string_view front);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_GGUF_H_
