// Stands for hdf5_file.cc where the library is missing.
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/io/hdf5_file.h"

namespace tessera::shard_loader {

absl::StatusOr<std::vector<Hdf5Dataset>> ReadHdf5(const std::filesystem::path& path) {
  return absl::UnimplementedError(absl::StrCat("shard_loader: ", path.filename().string(),
                                               " is an HDF5 file, and this build has no libhdf5"));
}

}  // namespace tessera::shard_loader
