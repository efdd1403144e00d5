#include "shard_loader/load/weight_files.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/weight_index.h"
#include "shard_loader/io/file.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

absl::StatusOr<std::string> ReadText(File& file, uint64_t offset, uint64_t size) {
  std::string text(size, '\0');
  RETURN_IF_ERROR(
      file.ReadAt(offset, absl::MakeSpan(reinterpret_cast<std::byte*>(text.data()), size)));
  return text;
}

// Opens `name`, reads its header, and adds it and its tensors to `found`; where `index` is given,
// only those tensors which it says are here.
absl::Status AddFile(const fs::path& folder, const std::string& name, const WeightIndex* index,
                     WeightFiles& found) {
  ASSIGN_OR_RETURN(File file, File::Open(folder / name));
  WeightFile entry{.name = name, .size = file.size()};
  ASSIGN_OR_RETURN(const std::string prefix,
                   ReadText(file, 0, std::min<uint64_t>(kSafetensorsPrefix, file.size())));
  ASSIGN_OR_RETURN(const uint64_t length, SafetensorsHeaderLength(prefix, file.size(), name));
  ASSIGN_OR_RETURN(entry.header, ReadText(file, kSafetensorsPrefix, length));
  entry.data_begin = kSafetensorsPrefix + length;
  ASSIGN_OR_RETURN(std::vector<SafetensorsTensor> tensors,
                   ParseSafetensorsHeader(entry.header, file.size(), name));
  const int position = static_cast<int>(found.files.size());
  found.files.push_back(std::move(entry));
  for (SafetensorsTensor& tensor : tensors) {
    if (index != nullptr) {
      const auto said = index->file_of.find(tensor.name);
      if (said == index->file_of.end() || said->second != name) continue;
    }
    std::string key = tensor.name;
    found.tensors.emplace(std::move(key), FoundTensor{position, std::move(tensor)});
  }
  return absl::OkStatus();
}

absl::StatusOr<WeightFiles> ScanIndexed(const fs::path& folder) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(folder / kIndex, 64 << 20));
  ASSIGN_OR_RETURN(const WeightIndex index, ParseWeightIndex(text, kIndex));
  WeightFiles found;
  for (const std::string& name : index.files) {
    absl::Status added = AddFile(folder, name, &index, found);
    if (absl::IsNotFound(added)) {
      return absl::DataLossError(absl::StrCat(
          "shard_loader: ", kIndex, ": names ", name,
          ", which is not in the folder; the download is incomplete: download it again"));
    }
    RETURN_IF_ERROR(added);
  }
  for (const auto& [tensor, file] : index.file_of) {
    if (found.tensors.contains(tensor)) continue;
    return absl::FailedPreconditionError(absl::StrCat("shard_loader: ", kIndex, ": tensor '",
                                                      Excerpt(tensor), "' is said to be in ", file,
                                                      ", whose header does not list it"));
  }
  return found;
}

absl::Status NoWeights(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const std::string suffix = entry.path().extension().string();
    if (suffix == ".bin" || suffix == ".pt" || suffix == ".pth" || suffix == ".gguf" ||
        suffix == ".msgpack" || suffix == ".h5" || suffix == ".npz") {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", folder.string(), " holds ", Excerpt(name), " and no ",
                       kSingle, "; supported are safetensors, in one file or by ", kIndex));
    }
  }
  return absl::NotFoundError(absl::StrCat("shard_loader: no weights in ", folder.string(),
                                          ": neither ", kSingle, " nor ", kIndex,
                                          "; the download is incomplete: download it again"));
}

}  // namespace

absl::StatusOr<WeightFiles> ScanWeightFiles(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / kSingle, error)) {
    WeightFiles found;
    RETURN_IF_ERROR(AddFile(folder, kSingle, nullptr, found));
    return found;
  }
  if (fs::exists(folder / kIndex, error)) return ScanIndexed(folder);
  return NoWeights(folder);
}

}  // namespace tessera::shard_loader
