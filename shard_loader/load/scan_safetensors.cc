// Hugging Face safetensors, one file or several by an index.
#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/safetensors.h"
#include "shard_loader/format/weight_index.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/formats.h"
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

StoredType TypeOf(const std::string& dtype) {
  constexpr std::pair<const char*, StoredType> kTypes[] = {
      {"F64", StoredType::kF64},        {"F32", StoredType::kF32},
      {"F16", StoredType::kF16},        {"BF16", StoredType::kBF16},
      {"F8_E4M3", StoredType::kF8E4M3}, {"F8_E5M2", StoredType::kF8E5M2},
      {"I64", StoredType::kI64},        {"I32", StoredType::kI32},
      {"I16", StoredType::kI16},        {"I8", StoredType::kI8},
      {"U64", StoredType::kU64},        {"U32", StoredType::kU32},
      {"U16", StoredType::kU16},        {"U8", StoredType::kU8},
      {"BOOL", StoredType::kBool},
  };
  for (const auto& [name, type] : kTypes) {
    if (dtype == name) return type;
  }
  return StoredType::kOther;
}

FoundTensor ToFound(int file, SafetensorsTensor tensor) {
  std::vector<int64_t> strides = RowMajorStrides(tensor.shape);
  return WholeTensor(file, {std::move(tensor.name),
                            TypeOf(tensor.dtype),
                            std::move(tensor.shape),
                            std::move(strides),
                            {tensor.begin, tensor.end - tensor.begin}});
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
    found.tensors.emplace(std::move(key), ToFound(position, std::move(tensor)));
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

bool IsHere(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kSingle, error) || fs::exists(folder / kIndex, error);
}

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) {
  WeightFiles found;
  ASSIGN_OR_RETURN(std::string config, ReadConfigJson(folder));
  std::error_code error;
  if (fs::exists(folder / kSingle, error)) {
    RETURN_IF_ERROR(AddFile(folder, kSingle, nullptr, found));
  } else {
    ASSIGN_OR_RETURN(found, ScanIndexed(folder));
  }
  found.config = std::move(config);
  return found;
}

}  // namespace

const CheckpointFormat& SafetensorsFormat() {
  static constexpr CheckpointFormat kFormat{
      "safetensors", "Hugging Face safetensors, one file or several by an index", IsHere, Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
