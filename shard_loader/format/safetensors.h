// The safetensors container (github.com/huggingface/safetensors, "Format"): 8 bytes little-endian
// header length, a JSON header, then the bytes of the tensors without gaps. No I/O here: bytes of a
// header to an index.
#ifndef TESSERA_SHARD_LOADER_FORMAT_SAFETENSORS_H_
#define TESSERA_SHARD_LOADER_FORMAT_SAFETENSORS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/model/dtype.h"

namespace tessera::shard_loader {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;  // one of the format's: "F32", "BF16", "I64" ...
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // absolute offsets in the file: [begin, end)
  uint64_t end = 0;
};

inline constexpr uint64_t kSafetensorsPrefix = 8;  // bytes of the header's length

// Length of the JSON header that `prefix` (the first bytes of the file, 8 where it has them)
// announces, checked against the size of the file and the format's limit of 100 MB.
absl::StatusOr<uint64_t> SafetensorsHeaderLength(std::string_view prefix, uint64_t file_size,
                                                 const std::string& file);

// The tensors of a header (without the 8 bytes), ascending by offset. DATA_LOSS: anything that the
// format does not allow: no JSON object, unknown dtype, byte counts that do not fit the shape,
// overlaps, holes, bytes after the last tensor, two equal names. `file` begins the messages.
absl::StatusOr<std::vector<SafetensorsTensor>> ParseSafetensorsHeader(std::string_view header,
                                                                      uint64_t file_size,
                                                                      const std::string& file);

// The dtypes that weights may have; none for the others of the format.
std::optional<DType> WeightDType(const std::string& safetensors_dtype);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_SAFETENSORS_H_
