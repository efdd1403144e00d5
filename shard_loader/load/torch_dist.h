// The tensors of a torch.distributed.checkpoint folder, as pieces.
#ifndef TESSERA_SHARD_LOADER_LOAD_TORCH_DIST_H_
#define TESSERA_SHARD_LOADER_LOAD_TORCH_DIST_H_

#include <filesystem>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "shard_loader/load/weight_files.h"

namespace tessera::shard_loader {

inline constexpr const char* kTorchDistIndex = ".metadata";

// By the names of the checkpoint. Its files, below `inside` of `folder`, are added to `files`.
// Chunks that cannot be seen as a rectangle of the tensor's rows and columns leave it without
// pieces. Errors as ParseTorchDist and TorchFile::Read; DATA_LOSS too where a chunk is not what
// the index says.
absl::StatusOr<std::map<std::string, FoundTensor>> ReadTorchDist(
    const std::filesystem::path& folder, const std::string& inside, WeightFiles& files);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_TORCH_DIST_H_
