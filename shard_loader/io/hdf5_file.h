// The datasets of an HDF5 file, as libhdf5 finds them: where their numbers lie, not the numbers.
#ifndef TESSERA_SHARD_LOADER_IO_HDF5_FILE_H_
#define TESSERA_SHARD_LOADER_IO_HDF5_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/stored_type.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

struct Hdf5Chunk {
  std::vector<int64_t> origin;
  ByteRange data;
};

struct Hdf5Dataset {
  std::string path;  // "group/group/name"
  StoredType type = StoredType::kOther;
  std::vector<int64_t> shape;
  std::vector<int64_t> chunk_shape;  // of one that is not chunked: `shape`
  Codec codec = Codec::kNone;
  std::vector<Hdf5Chunk>
      chunks;  // of one that is not chunked: one; none where it was never written
};

// In the order of their names; links to other files are not followed. Thread-safe. The library runs
// in a fork of this process. NOT_FOUND: no such file. DATA_LOSS: no HDF5 file, truncated or
// corrupt. UNIMPLEMENTED: data outside of the file or in its headers, other filters than deflate
// and shuffle, or a build without libhdf5.
absl::StatusOr<std::vector<Hdf5Dataset>> ReadHdf5(const std::filesystem::path& path);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_HDF5_FILE_H_
