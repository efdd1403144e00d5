// What libhdf5 says of a file. Internal to io.
#ifndef TESSERA_SHARD_LOADER_IO_HDF5_LISTING_H_
#define TESSERA_SHARD_LOADER_IO_HDF5_LISTING_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/io/hdf5_file.h"

namespace tessera::shard_loader {

// The datasets of the file at `path` of `size` bytes, which errors call `name`; the errors are
// those of ReadHdf5. Files that were made to can crash the library, and the process with it.
absl::StatusOr<std::vector<Hdf5Dataset>> ListHdf5(const std::filesystem::path& path,
                                                  const std::string& name, uint64_t size);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_HDF5_LISTING_H_
