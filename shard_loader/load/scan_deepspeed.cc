// DeepSpeed checkpoints of Hugging Face models: the module states of ZeRO stages 0 to 2, and the
// float32 partitions of stage 3 (deepspeed/utils/zero_to_fp32.py).
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

constexpr const char* kLatest = "latest";
constexpr const char* kModule = "mp_rank_00_model_states.pt";
constexpr int kMostRanks = 4096;

std::string ZeroFile(int rank, const char* what) {
  return absl::StrCat("zero_pp_rank_", rank, "_mp_rank_00_", what, "_states.pt");
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

absl::Status Mismatch(const std::string& file, std::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("shard_loader: ", file, ": ", std::string(what)));
}

// The folder of the last step, which a file names; empty where there is none.
std::string LatestStep(const fs::path& folder) {
  const absl::StatusOr<std::string> text = ReadSmallFile(folder / kLatest, 256);
  if (!text.ok()) return "";
  std::string name = *text;
  while (!name.empty() && (name.back() == '\n' || name.back() == '\r')) name.pop_back();
  const bool plain = !name.empty() && name[0] != '.' &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
  return plain ? name : "";
}

bool IsHere(const fs::path& folder) {
  const std::string step = LatestStep(folder);
  return !step.empty() &&
         (Exists(folder / step / kModule) || Exists(folder / step / ZeroFile(0, "optim")));
}

// Opens one file of the step and lists it.
absl::StatusOr<std::unique_ptr<TorchFile>> AddFile(const fs::path& folder, const std::string& name,
                                                   WeightFiles& found) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder / name));
  ASSIGN_OR_RETURN(std::unique_ptr<TorchFile> torch, TorchFile::Read(*file));
  found.files.push_back({name, file->size(), 0, IndexText(torch->index())});
  return torch;
}

absl::Status ScanModule(const fs::path& folder, const std::string& step, WeightFiles& found) {
  if (Exists(folder / step / "mp_rank_01_model_states.pt")) {
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", step,
                     ": model-parallel module states are not supported; merge them with "
                     "DeepSpeed's ds_to_universal.py"));
  }
  const std::string name = absl::StrCat(step, "/", kModule);
  ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> torch, AddFile(folder, name, found));
  constexpr std::string_view kPrefix = "module.";
  for (const IndexedTensor& tensor : torch->index().tensors()) {
    if (!tensor.name.starts_with(kPrefix)) continue;
    RETURN_IF_ERROR(AddTensor(found, tensor.name.substr(kPrefix.size()), WholeTensor(0, tensor)));
  }
  return absl::OkStatus();
}

// One rank's flat partition: stretches of a file, one after the other.
struct Flat {
  struct Stretch {
    int64_t begin = 0;  // elements of the partition before it
    int64_t elements = 0;
    SourcePiece front;
  };
  std::vector<Stretch> stretches;
  int64_t elements = 0;
};

absl::StatusOr<Flat> ReadFlat(const fs::path& folder, const std::string& name, WeightFiles& found) {
  const int file = static_cast<int>(found.files.size());
  ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> torch, AddFile(folder, name, found));
  Flat flat;
  for (int group = 0;; ++group) {
    const IndexedTensor* tensor =
        torch->index().Find(absl::StrCat("optimizer_state_dict.fp32_flat_groups.", group));
    if (tensor == nullptr) break;
    if (tensor->shape.size() != 1 || tensor->type != StoredType::kF32 || tensor->strides[0] != 1) {
      return Mismatch(name, "fp32_flat_groups holds what is no plain vector of float32");
    }
    flat.stretches.push_back({flat.elements, tensor->shape[0], PieceOf(file, *tensor)});
    flat.elements += tensor->shape[0];
  }
  if (flat.stretches.empty()) return Mismatch(name, "there are no fp32_flat_groups");
  return flat;
}

// The pieces of elements [first, first + count) of a matrix that lie from `at` on in a partition.
std::vector<SourcePiece> PiecesOf(const Flat& flat, int64_t at, Range elements, int64_t columns) {
  std::vector<SourcePiece> pieces;
  for (const Flat::Stretch& stretch : flat.stretches) {
    const int64_t begin = std::max(at, stretch.begin);
    const int64_t end = std::min(at + elements.size(), stretch.begin + stretch.elements);
    if (begin >= end) continue;
    SourcePiece front = stretch.front;
    front.offset += static_cast<uint64_t>((begin - stretch.begin) * 4);
    const Range part{elements.begin + begin - at, elements.begin + end - at};
    const std::vector<SourcePiece> some = FlatPieces(front, columns, part);
    pieces.insert(pieces.end(), some.begin(), some.end());
  }
  return pieces;
}

// Cuts the parameters out of the ranks' partitions, in the order in which they were laid there.
class Partitions {
 public:
  Partitions(std::vector<Flat> ranks, std::string file)
      : ranks_(std::move(ranks)), file_(std::move(file)) {}

  absl::StatusOr<FoundTensor> Next(const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 0;
    const auto ranks = static_cast<int64_t>(ranks_.size());
    if (shape.empty() || !CountElements(shape, int64_t{1} << 46, &count) || count == 0) {
      return Mismatch(file_, absl::StrCat("'", Excerpt(name), "' has no shape of a weight"));
    }
    const int64_t part = (count + ranks - 1) / ranks;
    FoundTensor tensor{.name = name, .type = StoredType::kF32};
    const int64_t columns = shape.size() > 1 ? shape[1] : 1;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      if (part > ranks_[rank].elements - at_) {
        return Mismatch(file_,
                        absl::StrCat("'", Excerpt(name), "' lies past the end of a partition of ",
                                     ranks_[rank].elements, " elements"));
      }
      const Range elements{std::min(rank * part, count), std::min((rank + 1) * part, count)};
      if (shape.size() > 2 || elements.size() == 0) continue;
      const std::vector<SourcePiece> some = PiecesOf(ranks_[rank], at_, elements, columns);
      tensor.pieces.insert(tensor.pieces.end(), some.begin(), some.end());
    }
    at_ += part;
    tensor.shape = std::move(shape);
    return tensor;
  }

 private:
  std::vector<Flat> ranks_;
  std::string file_;
  int64_t at_ = 0;
};

bool HasItems(const PickleValue* value) { return value != nullptr && !value->items.empty(); }

absl::Status AddParameters(const TorchFile& states, const std::string& name, Partitions& partitions,
                           WeightFiles& found) {
  const Pickle& pickle = states.pickle();
  const PickleValue* groups = pickle.Find(pickle.root(), "param_shapes");
  if (groups == nullptr || groups->kind != PickleKind::kList) {
    return Mismatch(name, "there is no list param_shapes");
  }
  if (HasItems(pickle.Find(pickle.root(), "frozen_param_shapes"))) {
    return absl::UnimplementedError(absl::StrCat(
        "shard_loader: ", name, ": frozen parameters of ZeRO stage 3 are not supported"));
  }
  for (const PickleRef group : groups->items) {
    const PickleValue& shapes = pickle.at(group);
    if (shapes.kind != PickleKind::kDict) return Mismatch(name, "param_shapes holds no dict");
    for (size_t i = 0; i < shapes.items.size(); i += 2) {
      const PickleValue& key = pickle.at(shapes.items[i]);
      std::vector<int64_t> shape;
      for (const PickleRef size : pickle.at(shapes.items[i + 1]).items) {
        shape.push_back(pickle.at(size).kind == PickleKind::kInt ? pickle.at(size).integer : -1);
      }
      ASSIGN_OR_RETURN(FoundTensor tensor,
                       partitions.Next(std::string(key.text), std::move(shape)));
      RETURN_IF_ERROR(AddTensor(found, std::string(key.text), std::move(tensor)));
    }
  }
  return absl::OkStatus();
}

// Names of one parameter: {name: name of the one that is stored}.
absl::Status AddShared(const TorchFile& states, WeightFiles& found) {
  const Pickle& pickle = states.pickle();
  const PickleValue* shared = pickle.Find(pickle.root(), "shared_params");
  if (shared == nullptr || shared->kind != PickleKind::kDict) return absl::OkStatus();
  for (size_t i = 0; i < shared->items.size(); i += 2) {
    const std::string name(pickle.at(shared->items[i]).text);
    const auto stored = found.tensors.find(std::string(pickle.at(shared->items[i + 1]).text));
    if (stored == found.tensors.end() || found.tensors.contains(name)) continue;
    FoundTensor copy = stored->second;
    RETURN_IF_ERROR(AddTensor(found, name, std::move(copy)));
  }
  return absl::OkStatus();
}

absl::Status ScanZero3(const fs::path& folder, const std::string& step, WeightFiles& found) {
  int ranks = 0;
  while (ranks < kMostRanks && Exists(folder / step / ZeroFile(ranks, "optim"))) ++ranks;
  if (Exists(folder / step / "zero_pp_rank_0_mp_rank_01_optim_states.pt")) {
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", step,
                                                 ": ZeRO stage 3 with model parallelism is not "
                                                 "supported"));
  }
  const std::string states_name = absl::StrCat(step, "/", ZeroFile(0, "model"));
  ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> states, AddFile(folder, states_name, found));
  std::vector<Flat> flats;
  for (int rank = 0; rank < ranks; ++rank) {
    ASSIGN_OR_RETURN(Flat flat,
                     ReadFlat(folder, absl::StrCat(step, "/", ZeroFile(rank, "optim")), found));
    flats.push_back(std::move(flat));
  }
  Partitions partitions(std::move(flats), states_name);
  RETURN_IF_ERROR(AddParameters(*states, states_name, partitions, found));
  return AddShared(*states, found);
}

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) {
  const std::string step = LatestStep(folder);
  if (step.empty()) {
    return absl::NotFoundError(
        absl::StrCat("shard_loader: no file 'latest' with the name of a "
                     "step in ",
                     folder.string()));
  }
  WeightFiles found;
  ASSIGN_OR_RETURN(found.config, ReadConfigJson(folder));
  const bool is_zero3 = !Exists(folder / step / kModule);
  RETURN_IF_ERROR(is_zero3 ? ScanZero3(folder, step, found) : ScanModule(folder, step, found));
  return found;
}

}  // namespace

const CheckpointFormat& DeepSpeedFormat() {
  static constexpr CheckpointFormat kFormat{
      "deepspeed", "DeepSpeed: module states, ZeRO stage 3 partitions", IsHere, Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
