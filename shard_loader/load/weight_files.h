// The weight files of a checkpoint folder and what their headers say.
#ifndef TESSERA_SHARD_LOADER_LOAD_WEIGHT_FILES_H_
#define TESSERA_SHARD_LOADER_LOAD_WEIGHT_FILES_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/stored_type.h"
#include "shard_loader/format/tensor_index.h"
#include "shard_loader/load/source_piece.h"
#include "shard_loader/model/dtype.h"

namespace tessera::shard_loader {

struct WeightFile {
  std::string name;  // inside the folder
  uint64_t size = 0;
  uint64_t data_begin = 0;  // first byte behind the header
  std::string header;       // its text, or what stands for it: equal only for equal headers
  // Where set, these are its bytes: values that a database keeps inside of its own pages.
  std::optional<std::string> inlined = std::nullopt;
};

struct FoundTensor {
  std::string name;  // in the files; differs from the key where the format has names of its own
  StoredType type = StoredType::kF32;
  std::vector<int64_t> shape;
  // Of the matrix whose columns are the last dimension and whose rows are those before it; none
  // where three or more dimensions cannot be seen so.
  std::vector<SourcePiece> pieces;
};

// What the headers of a checkpoint say, whatever its format: a config.json and tensors with the
// names and shapes that Hugging Face gives to the same weights.
struct WeightFiles {
  std::string format;  // as for --format
  std::string config;  // the text of config.json, or one made from what the format says itself
  std::vector<WeightFile> files;
  std::map<std::string, FoundTensor> tensors;  // by Hugging Face's name
  bool by_role = false;  // the names are ours (TensorName) and the shapes those of the weights
};

// A tensor of one file as it is.
FoundTensor WholeTensor(int file, IndexedTensor tensor);

// What weights in these pieces are handed out in: the type of all of them, else f32.
DType HandedOutAs(const std::vector<SourcePiece>& pieces);

// Stands for a header that is no text of its own: one line for each tensor.
std::string IndexText(const TensorIndex& index);

// The text of config.json. NOT_FOUND where there is none.
absl::StatusOr<std::string> ReadConfigJson(const std::filesystem::path& folder);

// A hash of `config`, of all headers, of the file sizes and of sixteen short stretches of every
// file's data, as 32 hexadecimal digits.
absl::StatusOr<std::string> WeightsVersion(const std::filesystem::path& folder,
                                           const WeightFiles& files, const std::string& config);

// A hash of the files' names, sizes and times of their last change, as 32 hexadecimal digits.
std::string FilesStamp(const std::filesystem::path& folder, const WeightFiles& files);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_WEIGHT_FILES_H_
