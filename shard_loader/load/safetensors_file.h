// One safetensors file of a checkpoint.
#ifndef TESSERA_SHARD_LOADER_LOAD_SAFETENSORS_FILE_H_
#define TESSERA_SHARD_LOADER_LOAD_SAFETENSORS_FILE_H_

#include <filesystem>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "shard_loader/load/weight_files.h"

namespace tessera::shard_loader {

using SafetensorsTensors = std::map<std::string, FoundTensor>;

// Opens `name` in `folder`, reads its header, lists the file in `files`, and gives its tensors.
// NOT_FOUND: no such file. Errors also as ParseSafetensorsHeader.
absl::Status ReadSafetensorsFile(const std::filesystem::path& folder, const std::string& name,
                                 WeightFiles& files, SafetensorsTensors* tensors);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_SAFETENSORS_FILE_H_
