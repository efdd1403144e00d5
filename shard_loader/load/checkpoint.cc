#include "shard_loader/load/checkpoint.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/stored_weight.h"
#include "shard_loader/load/weight_files.h"
#include "shard_loader/model/stored_rows.h"
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
    return absl::NotFoundError(
        absl::StrCat("shard_loader: no folder '", name,
                     "'; if it is a model of the Hugging Face hub, get it by: ", "hf download ",
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
  CheckpointOpener(const fs::path& folder, const CheckpointOptions& options)
      : checkpoint_(new Checkpoint), options_(options) {
    checkpoint_->folder_ = folder;
  }

  absl::StatusOr<std::unique_ptr<Checkpoint>> Open() {
    RETURN_IF_ERROR(CheckFolder(checkpoint_->folder_));
    if (!options_.with_weights) return OpenConfig();
    ASSIGN_OR_RETURN(const WeightFiles files,
                     ScanWeightFiles(checkpoint_->folder_, options_.format));
    checkpoint_->format_ = files.format;
    checkpoint_->config_ = files.config;
    RETURN_IF_ERROR(ReadConfigs(files));
    RETURN_IF_ERROR(TakeTensors(files));
    RETURN_IF_ERROR(LookAtTheRest(files));
    Count();
    for (const WeightFile& file : files.files) {
      checkpoint_->files_.push_back({file.name, file.size, file.inlined});
    }
    ASSIGN_OR_RETURN(checkpoint_->weights_version_,
                     WeightsVersion(checkpoint_->folder_, files, files.config));
    checkpoint_->files_stamp_ = FilesStamp(checkpoint_->folder_, files);
    return std::move(checkpoint_);
  }

 private:
  absl::StatusOr<std::unique_ptr<Checkpoint>> OpenConfig() {
    WeightFiles files{.format = "config", .config = "", .files = {}, .tensors = {}};
    ASSIGN_OR_RETURN(files.config, ReadConfigJson(checkpoint_->folder_));
    checkpoint_->format_ = files.format;
    RETURN_IF_ERROR(ReadConfigs(files));
    checkpoint_->dtype_ = DType::kBF16;
    for (TensorId id : ModelTensors(checkpoint_->spec())) {
      checkpoint_->num_parameters_ +=
          static_cast<uint64_t>(NumElements(TensorShape(checkpoint_->spec(), id.role)));
    }
    checkpoint_->total_bytes_ = checkpoint_->num_parameters_ * DTypeSize(checkpoint_->dtype_);
    ASSIGN_OR_RETURN(checkpoint_->weights_version_,
                     WeightsVersion(checkpoint_->folder_, files, files.config));
    return std::move(checkpoint_);
  }

  absl::Status ReadConfigs(const WeightFiles& files) {
    const fs::path& folder = checkpoint_->folder_;
    ASSIGN_OR_RETURN(checkpoint_->model_, ParseConfig(files.config));
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
      ASSIGN_OR_RETURN(const Stored stored, FindStored(id, files));
      RETURN_IF_ERROR(Take(id, files, stored));
    }
    std::sort(checkpoint_->tensors_.begin(), checkpoint_->tensors_.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    return absl::OkStatus();
  }

  // The tensors that a weight is stored in: one, or one for each head.
  struct Stored {
    NamePattern pattern;
    std::vector<const FoundTensor*> tensors;
  };

  const FoundTensor* FindTensor(const std::vector<std::string>& names, const WeightFiles& files) {
    for (const std::string& name : names) {
      const auto found = files.tensors.find(name);
      if (found == files.tensors.end()) continue;
      used_.insert(name);
      return &found->second;
    }
    return nullptr;
  }

  absl::StatusOr<Stored> FindStored(TensorId id, const WeightFiles& files) {
    const Model& model = checkpoint_->model_;
    if (files.by_role) {
      const FoundTensor* tensor = FindTensor({TensorName(id)}, files);
      if (tensor != nullptr) return Stored{{id.role, "{e}"}, {tensor}};
    }
    for (const NamePattern* pattern : model.Patterns(id.role)) {
      Stored stored{.pattern = *pattern};
      const int64_t parts = NumParts(*pattern, id.role);
      for (int64_t part = 0; part < parts; ++part) {
        const FoundTensor* tensor = FindTensor(model.Names(*pattern, id, part), files);
        if (tensor != nullptr) stored.tensors.push_back(tensor);
      }
      if (static_cast<int64_t>(stored.tensors.size()) == parts) return stored;
    }
    const std::vector<const NamePattern*> patterns = model.Patterns(id.role);
    const std::string shape =
        patterns.empty() ? "" : ShapeText(StoredShape(checkpoint_->spec(), *patterns[0]));
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: ", checkpoint_->folder_.string(), ": config.json asks for ",
                     "tensor '", files.by_role ? TensorName(id) : model.ForeignName(id),
                     "' of shape ", shape, ", which no weight file holds"));
  }

  // Heads, where each has a tensor of its own.
  int64_t NumParts(const NamePattern& pattern, TensorRole role) const {
    const AttentionSpec& attention = checkpoint_->spec().attention;
    if (std::string_view(pattern.name).find("{h}") == std::string_view::npos) return 1;
    return role == TensorRole::kKeyNorm ? attention.num_kv_heads : attention.num_heads;
  }

  absl::StatusOr<std::vector<SourcePiece>> PiecesOf(TensorId id, const WeightFiles& files,
                                                    const Stored& stored) {
    const DecoderSpec& spec = checkpoint_->spec();
    const std::vector<int64_t> shape = StoredShape(spec, stored.pattern);
    const auto parts = static_cast<int64_t>(stored.tensors.size());
    std::vector<SourcePiece> all;
    for (const FoundTensor* tensor : stored.tensors) {
      const int file = tensor->pieces.empty() ? 0 : tensor->pieces[0].file;
      const std::string where =
          absl::StrCat("shard_loader: ", files.files[file].name, ": tensor '", tensor->name, "'");
      // A vector may be written in any shape.
      const bool same = TensorShape(spec, id.role).size() == 1
                            ? NumElements(tensor->shape) * parts == NumElements(shape)
                            : tensor->shape == shape;
      if (!same) {
        return absl::FailedPreconditionError(
            absl::StrCat(where, " has shape ", ShapeText(tensor->shape), ", config.json asks for ",
                         ShapeText(shape)));
      }
      const int64_t before = RowsOfAll(all);
      for (SourcePiece piece : tensor->pieces) {
        if (stored.pattern.transposed && BlockOf(piece.type).elements > 1 && !piece.blocks_down) {
          return absl::UnimplementedError(absl::StrCat(where,
                                                       " is transposed, and stored in blocks as ",
                                                       std::string(StoredTypeName(piece.type))));
        }
        if (parts > 1) piece = MovedTo(piece, piece.rows.begin + before, 0);
        all.push_back(piece);
      }
    }
    return WeightPieces(spec, id, stored.pattern, all);
  }

  static int64_t RowsOfAll(const std::vector<SourcePiece>& pieces) {
    return pieces.empty() ? 0 : pieces.back().rows.end;
  }

  absl::Status Take(TensorId id, const WeightFiles& files, const Stored& stored) {
    const FoundTensor& found = *stored.tensors[0];
    const std::vector<int64_t> shape = TensorShape(checkpoint_->spec(), id.role);
    ASSIGN_OR_RETURN(std::vector<SourcePiece> pieces, PiecesOf(id, files, stored));
    const int file = pieces.empty() ? 0 : pieces[0].file;
    const std::string where =
        absl::StrCat("shard_loader: ", files.files[file].name, ": tensor '", found.name, "'");
    if (!CoverExactly(pieces, shape[0], shape.size() > 1 ? shape[1] : 1)) {
      return absl::FailedPreconditionError(
          absl::StrCat(where, " is not whole: its parts leave holes, or overlap"));
    }
    StoredTensor tensor{.id = id, .name = found.name, .shape = shape, .file = file};
    tensor.stored = pieces[0].type;
    tensor.offset = pieces[0].offset;
    tensor.dtype = HandedOutAs(pieces);
    for (const SourcePiece& piece : pieces) {
      if (!IsWeightType(piece.type)) {
        return absl::UnimplementedError(absl::StrCat(
            where, " is stored as ", std::string(StoredTypeName(piece.type)),
            "; supported are f32, f16, bf16, FP8 with scales beside it, and the blocks of GGUF"));
      }
      if (piece.blocks_down) {
        return absl::UnimplementedError(
            absl::StrCat(where, " is stored in blocks that run against its rows"));
      }
    }
    tensor.pieces = std::move(pieces);
    checkpoint_->tensors_.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // Lists what the model does not use, and refuses weights that it knows but config.json turned
  // off: leaving a bias out would give wrong answers silently.
  absl::Status LookAtTheRest(const WeightFiles& files) {
    const Model& model = checkpoint_->model_;
    std::set<std::string> known;
    for (const NamePattern& pattern : model.family->names()) {
      if (pattern.role == TensorRole::kHead) continue;
      for (int64_t layer = 0; layer < checkpoint_->spec().num_layers; ++layer) {
        const TensorId id{layer, pattern.role, IsExpertRole(pattern.role) ? 0 : -1};
        for (std::string& name : model.Names(pattern, id)) known.insert(std::move(name));
      }
    }
    for (const auto& [name, found] : files.tensors) {
      if (used_.contains(name)) continue;
      if (known.contains(name)) {
        return absl::FailedPreconditionError(
            absl::StrCat("shard_loader: ", checkpoint_->folder_.string(), ": tensor '", found.name,
                         "' is there, but config.json describes a model without it"));
      }
      checkpoint_->ignored_.push_back(found.name);
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
  const CheckpointOptions& options_;
  std::set<std::string> used_;  // names of tensors that weights were found in
};

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const fs::path& folder,
                                                             const CheckpointOptions& options) {
  return CheckpointOpener(folder, options).Open();
}

const StoredTensor* Checkpoint::Find(TensorId id) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), id,
                       [](const auto& tensor, TensorId key) { return tensor.id < key; });
  return found != tensors_.end() && found->id == id ? &*found : nullptr;
}

}  // namespace tessera::shard_loader
