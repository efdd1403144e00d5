// model.safetensors.index.json and its like: which weight file holds which tensor.
#ifndef TESSERA_SHARD_LOADER_FORMAT_WEIGHT_INDEX_H_
#define TESSERA_SHARD_LOADER_FORMAT_WEIGHT_INDEX_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::shard_loader {

struct WeightIndex {
  std::map<std::string, std::string> file_of;  // tensor name to file name
  std::vector<std::string> files;              // each once, ascending
};

// DATA_LOSS: no such JSON. FAILED_PRECONDITION: a file name that leaves the folder: only plain
// names ending in `suffix` are taken.
absl::StatusOr<WeightIndex> ParseWeightIndex(std::string_view index_json, const std::string& file,
                                             std::string_view suffix = ".safetensors");

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_WEIGHT_INDEX_H_
