// Flax checkpoints of Hugging Face models, and numpy archives with Hugging Face's names.
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/flax.h"
#include "shard_loader/format/npz.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/model/jax.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFlaxFile = "flax_model.msgpack";
constexpr const char* kNpzFile = "model.npz";

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool FlaxIsHere(const fs::path& folder) { return Exists(folder / kFlaxFile); }

absl::StatusOr<WeightFiles> ScanFlax(const fs::path& folder) {
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, ReadConfigJson(folder));
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder / kFlaxFile));
  ASSIGN_OR_RETURN(const TensorIndex index, ReadFlax(*file));
  found.files.push_back({kFlaxFile, file->size(), 0, IndexText(index)});
  for (const IndexedTensor& stored : index.tensors()) {
    ASSIGN_OR_RETURN(const ForeignName name, HuggingFaceNameOfFlax(stored.name));
    if (name.name.empty()) continue;
    FoundTensor tensor = WholeTensor(0, stored);
    if (name.transposed) tensor = Turned(std::move(tensor));
    RETURN_IF_ERROR(AddTensor(found, name.name, std::move(tensor)));
  }
  return found;
}

bool NpzIsHere(const fs::path& folder) { return Exists(folder / kNpzFile); }

absl::StatusOr<WeightFiles> ScanNpz(const fs::path& folder) {
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, ReadConfigJson(folder));
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder / kNpzFile));
  ASSIGN_OR_RETURN(const TensorIndex index, ReadNpz(*file));
  found.files.push_back({kNpzFile, file->size(), 0, IndexText(index)});
  for (const IndexedTensor& tensor : index.tensors()) {
    RETURN_IF_ERROR(AddTensor(found, tensor.name, WholeTensor(0, tensor)));
  }
  return found;
}

}  // namespace

const CheckpointFormat& FlaxFormat() {
  static constexpr CheckpointFormat kFormat{
      "flax", "Flax msgpack (`flax_model.msgpack`) of Hugging Face models", FlaxIsHere, ScanFlax};
  return kFormat;
}

const CheckpointFormat& NpzFormat() {
  static constexpr CheckpointFormat kFormat{
      "npz", "numpy archives (`model.npz`), stored or deflated, with Hugging Face's names",
      NpzIsHere, ScanNpz};
  return kFormat;
}

}  // namespace tessera::shard_loader
