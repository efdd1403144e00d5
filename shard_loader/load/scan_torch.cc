// PyTorch state dicts with Hugging Face's names: one file, or several by an index.
#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/torch_file.h"
#include "shard_loader/format/weight_index.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle[] = {"pytorch_model.bin", "pytorch_model.pt",  "model.pt",
                                   "model.pth",         "pytorch_model.pth", "model.bin"};
constexpr const char* kIndex = "pytorch_model.bin.index.json";

// A state dict that lies under one key, as trainers save it beside their own state.
constexpr const char* kPrefixes[] = {"state_dict.", "model_state_dict.", "module."};

std::string WithoutPrefix(const std::string& name) {
  for (const std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

absl::Status AddFile(const fs::path& folder, const std::string& name, WeightFiles& found) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder / name));
  ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> torch, TorchFile::Read(*file));
  const int position = static_cast<int>(found.files.size());
  found.files.push_back({name, file->size(), 0, IndexText(torch->index())});
  for (const IndexedTensor& tensor : torch->index().tensors()) {
    if (found.tensors.emplace(WithoutPrefix(tensor.name), WholeTensor(position, tensor)).second) {
      continue;
    }
    return absl::FailedPreconditionError(absl::StrCat(
        "shard_loader: ", name, ": tensor '", Excerpt(tensor.name), "' is in another file too"));
  }
  return absl::OkStatus();
}

absl::Status AddIndexed(const fs::path& folder, WeightFiles& found) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(folder / kIndex, 64 << 20));
  ASSIGN_OR_RETURN(const WeightIndex index, ParseWeightIndex(text, kIndex, ".bin"));
  for (const std::string& name : index.files) {
    absl::Status added = AddFile(folder, name, found);
    if (absl::IsNotFound(added)) {
      return absl::DataLossError(absl::StrCat(
          "shard_loader: ", kIndex, ": names ", name,
          ", which is not in the folder; the download is incomplete: download it again"));
    }
    RETURN_IF_ERROR(added);
  }
  for (const auto& [tensor, file] : index.file_of) {
    const auto there = found.tensors.find(WithoutPrefix(tensor));
    const bool agrees =
        there != found.tensors.end() &&
        (there->second.pieces.empty() || found.files[there->second.pieces[0].file].name == file);
    if (agrees) continue;
    return absl::FailedPreconditionError(absl::StrCat("shard_loader: ", kIndex, ": tensor '",
                                                      Excerpt(tensor), "' is said to be in ", file,
                                                      ", whose pickle does not list it"));
  }
  return absl::OkStatus();
}

std::string SingleFile(const fs::path& folder) {
  std::error_code error;
  for (const char* name : kSingle) {
    if (fs::exists(folder / name, error)) return name;
  }
  return "";
}

bool IsHere(const fs::path& folder) {
  std::error_code error;
  return !SingleFile(folder).empty() || fs::exists(folder / kIndex, error);
}

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) {
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, ReadConfigJson(folder));
  const std::string single = SingleFile(folder);
  RETURN_IF_ERROR(single.empty() ? AddIndexed(folder, found) : AddFile(folder, single, found));
  return found;
}

}  // namespace

const CheckpointFormat& TorchFormat() {
  static constexpr CheckpointFormat kFormat{
      "pytorch", "PyTorch state dicts (.bin, .pt, .pth; zip and older container; index)", IsHere,
      Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
