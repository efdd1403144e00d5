// Arrays of zarr version 2 (zarr-specs.readthedocs.io, "Zarr storage specification version 2"): a
// folder with `.zarray`, a JSON text, and one file for each chunk. And of version 3 ("Zarr core
// specification version 3"): `zarr.json`, and chunks or shards, which are several chunks and their
// index ("Sharding codec").
#ifndef TESSERA_SHARD_LOADER_FORMAT_ZARR_H_
#define TESSERA_SHARD_LOADER_FORMAT_ZARR_H_

#include <cstdint>
#include <optional>
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
  std::vector<int64_t> chunk_shape;  // of what has a file of its own: shards, where there are any
  bool column_major = false;
  Codec codec = Codec::kNone;
  bool has_prefix = false;      // "c" in front of the numbers in a name
  char separator = '.';         // between the numbers in the name of a chunk
  uint64_t checksum_bytes = 0;  // behind the record of a chunk

  // Chunks inside of a file; empty: the file is one.
  std::vector<int64_t> inner_shape;
  bool index_first = false;
  bool index_checksum = true;

  // How many chunks there are along each dimension.
  std::vector<int64_t> ChunkCounts() const;
  std::vector<int64_t> InnerCounts() const;  // in one shard
  // The file of a chunk, by its number along each dimension: "0.3"; "0" where there is none;
  // "c/0/3" and "c" in version 3.
  std::string ChunkName(const std::vector<int64_t>& chunk) const;
  // Of a shard's index.
  uint64_t IndexBytes() const;
};

// The text of `.zarray`. DATA_LOSS: none, or shapes that no array has. UNIMPLEMENTED: another
// version, big-endian numbers, filters, other compressors than gzip, zlib, zstd and blosc.
absl::StatusOr<ZarrArray> ParseZarrArray(std::string_view text, const std::string& file);

// The text of `zarr.json`; empty where it is a group's. Errors likewise, of other codecs too.
absl::StatusOr<std::optional<ZarrArray>> ParseZarr3Array(std::string_view text,
                                                         const std::string& file);

// Where the chunks of a shard lie in it, in row-major order; of no bytes where there is none.
// DATA_LOSS: the index is damaged, or a chunk ends past the end of the shard.
absl::StatusOr<std::vector<ByteRange>> ReadShardIndex(const ZarrArray& array,
                                                      std::string_view index, uint64_t shard_bytes,
                                                      const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_ZARR_H_
