#include "shard_loader/load/checkpoint.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/format/safetensors.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/weight_files.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostConfigBytes = 4 << 20;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// "org/name", as the Hugging Face hub calls its models.
bool LooksLikeHubName(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == text.size()) return false;
  if (text.find('/', slash + 1) != std::string::npos || text[0] == '.') return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '/';
  });
}

absl::Status CheckFolder(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (fs::is_directory(status)) return absl::OkStatus();
  const std::string name = folder.string();
  if (fs::exists(status)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "shard_loader: ", name, " is a file; give the folder that holds config.json and weights"));
  }
  if (LooksLikeHubName(name)) {
    return absl::NotFoundError(absl::StrCat(
        "shard_loader: no folder '", name,
        "'; if it is a model of the Hugging Face hub, get it by: ", "huggingface-cli download ",
        name, " --local-dir DIR, and give DIR"));
  }
  return absl::NotFoundError(absl::StrCat("shard_loader: no folder '", Excerpt(name), "'"));
}

}  // namespace

uint64_t StoredTensor::bytes() const {
  return static_cast<uint64_t>(NumElements(shape) * DTypeSize(dtype));
}

// Builds a Checkpoint step by step; the only one who writes its members.
class CheckpointOpener {
 public:
  explicit CheckpointOpener(const fs::path& folder) : checkpoint_(new Checkpoint) {
    checkpoint_->folder_ = folder;
  }

  absl::StatusOr<std::unique_ptr<Checkpoint>> Open() {
    RETURN_IF_ERROR(CheckFolder(checkpoint_->folder_));
    RETURN_IF_ERROR(ReadConfigs());
    ASSIGN_OR_RETURN(const WeightFiles files, ScanWeightFiles(checkpoint_->folder_));
    RETURN_IF_ERROR(TakeTensors(files));
    RETURN_IF_ERROR(LookAtTheRest(files));
    Count();
    for (const WeightFile& file : files.files) {
      checkpoint_->files_.push_back({file.name, file.size});
    }
    ASSIGN_OR_RETURN(checkpoint_->weights_version_,
                     WeightsVersion(checkpoint_->folder_, files, config_));
    return std::move(checkpoint_);
  }

 private:
  absl::Status ReadConfigs() {
    const fs::path& folder = checkpoint_->folder_;
    absl::StatusOr<std::string> config = ReadSmallFile(folder / "config.json", kMostConfigBytes);
    if (absl::IsNotFound(config.status())) {
      return absl::NotFoundError(absl::StrCat("shard_loader: no config.json in ", folder.string(),
                                              "; give the folder of a Hugging Face checkpoint"));
    }
    ASSIGN_OR_RETURN(config_, std::move(config));
    ASSIGN_OR_RETURN(checkpoint_->model_, ParseConfig(config_));
    absl::StatusOr<std::string> generation =
        ReadSmallFile(folder / "generation_config.json", kMostConfigBytes);
    if (generation.ok()) {
      ASSIGN_OR_RETURN(checkpoint_->generation_, ParseGenerationConfig(*generation));
    } else if (!absl::IsNotFound(generation.status())) {
      return generation.status();
    }
    std::set<int64_t> stop(checkpoint_->model_.eos_token_ids.begin(),
                           checkpoint_->model_.eos_token_ids.end());
    for (int64_t id : checkpoint_->generation_.eos_token_ids) {
      if (id < checkpoint_->spec().vocab_size) stop.insert(id);
    }
    checkpoint_->stop_token_ids_.assign(stop.begin(), stop.end());
    return absl::OkStatus();
  }

  absl::Status TakeTensors(const WeightFiles& files) {
    for (TensorId id : ModelTensors(checkpoint_->spec())) {
      const std::string name = checkpoint_->model_.ForeignName(id);
      const std::vector<int64_t> shape = TensorShape(checkpoint_->spec(), id.role);
      const auto found = files.tensors.find(name);
      if (found == files.tensors.end()) {
        return absl::FailedPreconditionError(absl::StrCat(
            "shard_loader: ", checkpoint_->folder_.string(), ": config.json asks for ", "tensor '",
            name, "' of shape ", ShapeText(shape), ", which no weight file holds"));
      }
      RETURN_IF_ERROR(Take(id, files, found->second, shape));
    }
    std::sort(checkpoint_->tensors_.begin(), checkpoint_->tensors_.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    return absl::OkStatus();
  }

  absl::Status Take(TensorId id, const WeightFiles& files, const FoundTensor& found,
                    const std::vector<int64_t>& shape) {
    const SafetensorsTensor& tensor = found.tensor;
    const std::string where = absl::StrCat("shard_loader: ", files.files[found.file].name,
                                           ": tensor '", tensor.name, "'");
    if (tensor.shape != shape) {
      return absl::FailedPreconditionError(
          absl::StrCat(where, " has shape ", ShapeText(tensor.shape), ", config.json asks for ",
                       ShapeText(shape)));
    }
    const std::optional<DType> dtype = WeightDType(tensor.dtype);
    if (!dtype) {
      return absl::UnimplementedError(
          absl::StrCat(where, " is stored as ", tensor.dtype, "; supported are F32, F16 and BF16"));
    }
    checkpoint_->tensors_.push_back({id, tensor.name, *dtype, shape, found.file, tensor.begin});
    return absl::OkStatus();
  }

  // Lists what the model does not use, and refuses weights that it knows but config.json turned
  // off: leaving a bias out would give wrong answers silently.
  absl::Status LookAtTheRest(const WeightFiles& files) {
    std::set<std::string> used;
    for (const StoredTensor& tensor : checkpoint_->tensors_) used.insert(tensor.name);
    std::set<std::string> known;
    for (const NamePattern& pattern : checkpoint_->model_.family->names()) {
      if (pattern.role == TensorRole::kHead) continue;
      for (int64_t layer = 0; layer < checkpoint_->spec().num_layers; ++layer) {
        known.insert(checkpoint_->model_.ForeignName({layer, pattern.role}));
      }
    }
    for (const auto& [name, found] : files.tensors) {
      if (used.contains(name)) continue;
      if (known.contains(name)) {
        return absl::FailedPreconditionError(
            absl::StrCat("shard_loader: ", files.files[found.file].name, ": tensor '", name,
                         "' is there, but config.json describes a model without it"));
      }
      checkpoint_->ignored_.push_back(name);
    }
    return absl::OkStatus();
  }

  void Count() {
    std::array<uint64_t, 3> bytes{};
    for (const StoredTensor& tensor : checkpoint_->tensors_) {
      checkpoint_->num_parameters_ += static_cast<uint64_t>(NumElements(tensor.shape));
      checkpoint_->total_bytes_ += tensor.bytes();
      bytes[static_cast<size_t>(tensor.dtype)] += tensor.bytes();
    }
    checkpoint_->dtype_ =
        static_cast<DType>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
  }

  std::unique_ptr<Checkpoint> checkpoint_;
  std::string config_;
};

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const fs::path& folder) {
  return CheckpointOpener(folder).Open();
}

const StoredTensor* Checkpoint::Find(TensorId id) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), id,
                       [](const auto& tensor, TensorId key) { return tensor.id < key; });
  return found != tensors_.end() && found->id == id ? &*found : nullptr;
}

}  // namespace tessera::shard_loader
