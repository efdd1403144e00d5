// numpy archives: a zip of NAME.npy records, stored or deflated (numpy/lib/format.py, versions 1.0
// to 3.0 of a record's header).
#ifndef TESSERA_SHARD_LOADER_FORMAT_NPZ_H_
#define TESSERA_SHARD_LOADER_FORMAT_NPZ_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

struct NpyHeader {
  StoredType type = StoredType::kF32;
  std::vector<int64_t> shape;
  bool fortran_order = false;
  uint64_t data_offset = 0;  // of the first element, from the front of the record
};

// `front` is the beginning of a record, all of it or at least its header. A two-byte void type is
// bfloat16, as ml_dtypes writes it. DATA_LOSS: no such header. UNIMPLEMENTED: Python objects,
// big-endian numbers, structures.
absl::StatusOr<NpyHeader> ParseNpyHeader(std::string_view front, const std::string& file);

// Tensors are called as their records, without ".npy". Errors also as ReadZipDirectory's.
absl::StatusOr<TensorIndex> ReadNpz(const ByteSource& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_NPZ_H_
