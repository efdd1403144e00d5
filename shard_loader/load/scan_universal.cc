// DeepSpeed's universal checkpoints (deepspeed/checkpoint/ds_to_universal.py): a folder for each
// parameter with its whole float32 value.
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/torch_file.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLatest = "latest_universal";
constexpr const char* kParameters = "zero";
constexpr const char* kValue = "fp32.pt";
constexpr size_t kMostParameters = 1 << 20;

// The folder of the parameters inside of the checkpoint's: that of the step which a file names, or
// "zero/"; empty where there is neither.
std::string ParameterFolder(const fs::path& folder) {
  std::error_code error;
  const absl::StatusOr<std::string> text = ReadSmallFile(folder / kLatest, 256);
  if (text.ok()) {
    std::string step = *text;
    while (!step.empty() && (step.back() == '\n' || step.back() == '\r')) step.pop_back();
    const bool plain = !step.empty() && step[0] != '.' &&
                       step.find_first_of(std::string_view("/\\\0", 3)) == step.npos;
    const std::string inside = absl::StrCat(step, "/", kParameters, "/");
    if (plain && fs::is_directory(folder / inside, error)) return inside;
  }
  const std::string inside = absl::StrCat(kParameters, "/");
  return fs::is_directory(folder / inside, error) ? inside : "";
}

bool IsHere(const fs::path& folder) { return !ParameterFolder(folder).empty(); }

absl::Status AddParameter(const fs::path& folder, const std::string& file_name,
                          const std::string& name, WeightFiles& found) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder / file_name));
  ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> torch, TorchFile::Read(*file));
  const IndexedTensor* tensor = torch->index().Find("param");
  if (tensor == nullptr) tensor = torch->index().Find("");  // before DeepSpeed 0.10
  if (tensor == nullptr) {
    return absl::DataLossError(
        absl::StrCat("shard_loader: ", file_name, ": holds no tensor 'param'"));
  }
  const int index = static_cast<int>(found.files.size());
  found.files.push_back({file_name, file->size(), 0, IndexText(torch->index())});
  FoundTensor whole = WholeTensor(index, *tensor);
  whole.name = name;
  // Engines wrap a model as a module.
  const std::string_view bare =
      name.starts_with("module.") ? std::string_view(name).substr(7) : name;
  return AddTensor(found, std::string(bare), std::move(whole));
}

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) {
  const std::string inside = ParameterFolder(folder);
  if (inside.empty()) {
    return absl::NotFoundError(absl::StrCat("shard_loader: no folder '", kParameters,
                                            "' of DeepSpeed's universal format in ",
                                            folder.string()));
  }
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, ReadConfigJson(folder));
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder / inside, error)) {
    if (fs::exists(entry.path() / kValue, error) && names.size() < kMostParameters) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    RETURN_IF_ERROR(AddParameter(folder, absl::StrCat(inside, name, "/", kValue), name, found));
  }
  return found;
}

}  // namespace

const CheckpointFormat& UniversalFormat() {
  static constexpr CheckpointFormat kFormat{
      "deepspeed_universal", "DeepSpeed's universal checkpoints of Hugging Face models", IsHere,
      Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
