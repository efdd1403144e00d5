// Arrays of zarr version 2 (zarr-specs.readthedocs.io, "Zarr storage specification version 2"): a
// folder with `.zarray`, a JSON text, and one file for each chunk.
#ifndef TESSERA_SHARD_LOADER_FORMAT_ZARR_H_
#define TESSERA_SHARD_LOADER_FORMAT_ZARR_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/stored_type.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

struct ZarrArray {
  StoredType type = StoredType::kOther;
  std::vector<int64_t> shape;
  std::vector<int64_t> chunk_shape;
  bool column_major = false;
  Codec codec = Codec::kNone;
  char separator = '.';  // between the numbers in the name of a chunk

  // How many chunks there are along each dimension.
  std::vector<int64_t> ChunkCounts() const;
  // The file of a chunk, by its number along each dimension: "0.3"; "0" where there is none.
  std::string ChunkName(const std::vector<int64_t>& chunk) const;
};

// The text of `.zarray`. DATA_LOSS: none, or shapes that no array has. UNIMPLEMENTED: another
// version, big-endian numbers, filters, other compressors than gzip, zlib, zstd and blosc.
absl::StatusOr<ZarrArray> ParseZarrArray(std::string_view text, const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_ZARR_H_
