// Where the arrays of a checkpoint lie that is a tree of keys and values, as TensorStore writes it:
// one file for each value, or one database (OCDBT) for all.
#ifndef TESSERA_SHARD_LOADER_LOAD_ARRAY_STORE_H_
#define TESSERA_SHARD_LOADER_LOAD_ARRAY_STORE_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "shard_loader/format/tensor_index.h"
#include "shard_loader/load/weight_files.h"

namespace tessera::shard_loader {

struct StoredValue {
  std::string file;  // inside of the checkpoint's folder; empty: `inlined` is the value
  uint64_t file_size = 0;
  ByteRange data;
  std::string inlined;
};

// Values by key: "params.layer.kernel/.zarray", "params.layer.kernel/0.0".
using ArrayStore = std::map<std::string, StoredValue>;

// The files below `root`, which is `folder` or lies in it. Links are not followed. DATA_LOSS: more
// files than any checkpoint has.
absl::StatusOr<ArrayStore> ListFolder(const std::filesystem::path& folder,
                                      const std::filesystem::path& root);

// The values of the OCDBT database in `root`. Errors as ReadOcdbt; DATA_LOSS too where a value lies
// past the end of its file.
absl::StatusOr<ArrayStore> ListDatabase(const std::filesystem::path& folder,
                                        const std::filesystem::path& root);

// Adds every zarr array of the store whose name `hugging_face` knows, as flax names it. DATA_LOSS:
// a chunk is missing. Errors also as ParseZarrArray and FromChunks.
absl::Status AddZarrArrays(const std::filesystem::path& folder, const ArrayStore& store,
                           WeightFiles& found);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_ARRAY_STORE_H_
