#include "shard_loader/load/formats.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

std::string Names() { return absl::StrJoin(FormatNames(), ", "); }

absl::StatusOr<const CheckpointFormat*> Find(const fs::path& folder, const std::string& name) {
  for (const CheckpointFormat* format : CheckpointFormats()) {
    if (name.empty() ? format->is_here(folder) : name == format->name) return format;
  }
  if (!name.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("shard_loader: --format '", Excerpt(name),
                                                   "' is not known; supported are ", Names()));
  }
  std::error_code error;
  if (!fs::exists(folder / "config.json", error)) {
    return absl::NotFoundError(absl::StrCat("shard_loader: no config.json in ", folder.string(),
                                            " and no weights; supported are ", Names()));
  }
  return absl::NotFoundError(
      absl::StrCat("shard_loader: no weights in ", folder.string(),
                   ": neither model.safetensors nor files of another format (", Names(),
                   "); the download is incomplete: download it again"));
}

}  // namespace

const std::vector<const CheckpointFormat*>& CheckpointFormats() {
  static const auto& formats = *new std::vector<const CheckpointFormat*>{
      &CutFormat(),      &SafetensorsFormat(), &GgufFormat(),      &MetaFormat(),
      &MegatronFormat(), &DeepSpeedFormat(),   &UniversalFormat(), &TorchDistFormat(),
      &TorchFormat(),    &FlaxFormat(),        &KerasFormat(),     &TensorFlowFormat(),
      &T5xFormat(),      &OrbaxFormat(),       &NpzFormat()};
  return formats;
}

std::vector<std::string> FormatNames() {
  std::vector<std::string> names;
  for (const CheckpointFormat* format : CheckpointFormats()) names.push_back(format->name);
  return names;
}

absl::StatusOr<WeightFiles> ScanWeightFiles(const fs::path& folder, const std::string& format) {
  ASSIGN_OR_RETURN(const CheckpointFormat* const known, Find(folder, format));
  ASSIGN_OR_RETURN(WeightFiles files, known->scan(folder));
  files.format = known->name;
  return files;
}

}  // namespace tessera::shard_loader
