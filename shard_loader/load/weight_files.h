// The weight files of a checkpoint folder and what their headers say.
#ifndef TESSERA_SHARD_LOADER_LOAD_WEIGHT_FILES_H_
#define TESSERA_SHARD_LOADER_LOAD_WEIGHT_FILES_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/safetensors.h"

namespace tessera::shard_loader {

struct WeightFile {
  std::string name;  // inside the folder
  uint64_t size = 0;
  uint64_t data_begin = 0;  // first byte behind the header
  std::string header;       // its JSON
};

struct FoundTensor {
  int file = 0;  // index into WeightFiles::files
  SafetensorsTensor tensor;
};

struct WeightFiles {
  std::vector<WeightFile> files;
  std::map<std::string, FoundTensor> tensors;  // by name
};

// model.safetensors, or else the files of model.safetensors.index.json. Reads headers only.
// NOT_FOUND: no weights. UNIMPLEMENTED: weights of another format. DATA_LOSS: a file of the index
// is missing or corrupt. FAILED_PRECONDITION: the index and the headers disagree.
absl::StatusOr<WeightFiles> ScanWeightFiles(const std::filesystem::path& folder);

// A hash of `config`, of all headers, of the file sizes and of sixteen short stretches of every
// file's data, as 32 hexadecimal digits.
absl::StatusOr<std::string> WeightsVersion(const std::filesystem::path& folder,
                                           const WeightFiles& files, const std::string& config);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_WEIGHT_FILES_H_
