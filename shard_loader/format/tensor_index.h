// What the header of any weight file says: which tensors there are, and where their numbers lie.
#ifndef TESSERA_SHARD_LOADER_FORMAT_TENSOR_INDEX_H_
#define TESSERA_SHARD_LOADER_FORMAT_TENSOR_INDEX_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "shard_loader/format/stored_type.h"

namespace tessera::shard_loader {

enum class Codec : uint8_t {
  kNone,
  kDeflate,       // raw deflate, as in zip records
  kZlib,          // with zlib's or gzip's header, whichever is there
  kShuffledZlib,  // the same over bytes that HDF5's shuffle filter put in order of significance
  kZstd,
  kBlosc,  // a buffer of c-blosc 1
};

// Where numbers lie: a stretch of a file, as it is or compressed.
struct ByteRange {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// Element (i, j, ...) of a plain type lies at data.offset + element size * (i * strides[0] + ...).
struct IndexedTensor {
  std::string name;
  StoredType type = StoredType::kF32;
  std::vector<int64_t> shape;    // outermost first
  std::vector<int64_t> strides;  // in elements; blocks: rows without gaps
  ByteRange data;                // element (0, 0, ...) begins it
  Codec codec = Codec::kNone;    // else `data` is the compressed record
  uint64_t inflated_bytes = 0;   // of the record
  uint64_t inflated_offset = 0;  // of element (0, 0, ...) in what it inflates to
};

inline constexpr size_t kMaxDimensions = 8;

// Thread-compatible.
class TensorIndex {
 public:
  // False, and nothing is added, where the name is there already.
  bool Add(IndexedTensor tensor);
  const std::vector<IndexedTensor>& tensors() const { return tensors_; }
  // Null where there is none of that name.
  const IndexedTensor* Find(std::string_view name) const;

 private:
  std::vector<IndexedTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> by_name_;
};

// Row-major strides of a shape.
std::vector<int64_t> RowMajorStrides(const std::vector<int64_t>& shape);

// Elements of a shape from outside; false where a size is negative or the product of the sizes
// that are not 0 passes `most`.
bool CountElements(const std::vector<int64_t>& shape, int64_t most, int64_t* count);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_TENSOR_INDEX_H_
