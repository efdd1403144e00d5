// torch.distributed.checkpoint folders with Hugging Face's names, as FSDP and its like leave them.
#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/load/torch_dist.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

using Tensors = std::map<std::string, FoundTensor>;

// What trainers call the model in the state that they save.
constexpr std::string_view kPrefixes[] = {"app.", "state_dict.", "model_state_dict.", "module."};
constexpr std::string_view kModel = "model.";
// Names that begin with "model." by themselves.
constexpr std::string_view kOwn[] = {"model.layers.", "model.embed_tokens.", "model.decoder."};

bool AllBeginWith(const Tensors& tensors, std::string_view prefix) {
  return std::all_of(tensors.begin(), tensors.end(),
                     [&](const auto& entry) { return entry.first.starts_with(prefix); });
}

size_t PrefixOf(const Tensors& tensors) {
  size_t skipped = 0;
  for (const std::string_view prefix : kPrefixes) {
    if (AllBeginWith(tensors, prefix)) skipped = prefix.size();
  }
  const bool has_own = std::any_of(tensors.begin(), tensors.end(), [&](const auto& entry) {
    const std::string_view name = std::string_view(entry.first).substr(skipped);
    return !name.starts_with(kModel) ||
           std::any_of(std::begin(kOwn), std::end(kOwn),
                       [&](std::string_view own) { return name.starts_with(own); });
  });
  return has_own ? skipped : skipped + kModel.size();
}

bool IsHere(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kTorchDistIndex, error);
}

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) {
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, ReadConfigJson(folder));
  ASSIGN_OR_RETURN(Tensors tensors, ReadTorchDist(folder, "", found));
  const size_t skipped = PrefixOf(tensors);
  for (auto& [name, tensor] : tensors) {
    RETURN_IF_ERROR(AddTensor(found, name.substr(skipped), std::move(tensor)));
  }
  return found;
}

}  // namespace

const CheckpointFormat& TorchDistFormat() {
  static constexpr CheckpointFormat kFormat{
      "torch_dist",
      "torch.distributed.checkpoint (`.metadata`, `.distcp`) of Hugging Face models: FSDP, tensor "
      "parallel",
      IsHere, Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
