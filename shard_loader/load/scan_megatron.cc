// Megatron-LM: iter_NNNNNNN/mp_rank_TT[_PPP]/model_optim_rng.pt, one file for each rank that
// trained.
#include <algorithm>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "shard_loader/format/torch_file.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/load/megatron_parts.h"
#include "shard_loader/load/torch_dist.h"
#include "shard_loader/model/megatron.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLatest = "latest_checkpointed_iteration.txt";
constexpr const char* kFiles[] = {"model_optim_rng.pt", "model_rng.pt"};
constexpr const char* kCommon = "common.pt";  // of torch_dist: what is the same on every rank
constexpr int kMostRanks = 1024;
constexpr int64_t kMostLayers = 1 << 16;
constexpr int64_t kMostHeads = 1 << 16;  // and elements of a head

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// "iter_0000010", or "release", or nothing where the ranks' folders lie in the folder itself.
std::string Iteration(const fs::path& folder) {
  const absl::StatusOr<std::string> text = ReadSmallFile(folder / kLatest, 64);
  if (!text.ok()) return "";
  if (text->starts_with("release")) return "release/";
  int64_t number = 0;
  for (const char c : *text) {
    if (c >= '0' && c <= '9') number = number * 10 + (c - '0');
    if (number > 99'999'999'999) return "";
  }
  return absl::StrFormat("iter_%07d/", number);
}

// The file of a rank inside of the folder; empty where there is none.
std::string RankFile(const fs::path& folder, int tensor, int stage, bool has_stages) {
  const std::string name = has_stages ? absl::StrFormat("mp_rank_%02d_%03d", tensor, stage)
                                      : absl::StrFormat("mp_rank_%02d", tensor);
  for (const char* file : kFiles) {
    const std::string path = absl::StrCat(Iteration(folder), name, "/", file);
    if (Exists(folder / path)) return path;
  }
  return "";
}

// Core's torch_dist layout: all ranks' weights under one index.
bool IsDist(const fs::path& folder) {
  const std::string inside = Iteration(folder);
  return Exists(folder / (inside + kTorchDistIndex)) && Exists(folder / (inside + kCommon));
}

bool IsHere(const fs::path& folder) {
  return IsDist(folder) || !RankFile(folder, 0, 0, false).empty() ||
         !RankFile(folder, 0, 0, true).empty();
}

// The scalars of the pickled `args`; an empty object where there are none.
nlohmann::json ArgsOf(const TorchFile& torch) {
  nlohmann::json args = nlohmann::json::object();
  const Pickle& pickle = torch.pickle();
  const PickleValue* object = pickle.Find(pickle.root(), "args");
  if (object == nullptr) return args;
  const PickleValue& values =
      object->kind == PickleKind::kObject ? pickle.at(object->state) : *object;
  if (values.kind != PickleKind::kDict) return args;
  for (size_t i = 0; i < values.items.size(); i += 2) {
    const PickleValue& key = pickle.at(values.items[i]);
    const PickleValue& value = pickle.at(values.items[i + 1]);
    if (key.kind != PickleKind::kString || key.text.size() > 128) continue;
    const std::string name = Excerpt(key.text);
    if (value.kind == PickleKind::kInt) args[name] = value.integer;
    if (value.kind == PickleKind::kBool) args[name] = value.integer != 0;
    if (value.kind == PickleKind::kFloat) args[name] = value.real;
    if (value.kind == PickleKind::kString) args[name] = Excerpt(value.text);
  }
  return args;
}

double VersionOf(const TorchFile& torch) {
  const Pickle& pickle = torch.pickle();
  const PickleValue* version = pickle.Find(pickle.root(), "checkpoint_version");
  if (version == nullptr) return 0.0;
  return version->kind == PickleKind::kFloat ? version->real
                                             : static_cast<double>(version->integer);
}

// A stage's tensors, each with its parts by tensor-parallel rank.
using Parts = std::map<std::string, std::vector<FoundTensor>>;

class Scanner {
 public:
  explicit Scanner(const fs::path& folder) : folder_(folder) {}

  absl::StatusOr<WeightFiles> Scan() {
    if (IsDist(folder_)) return ScanDist();
    const bool has_stages = RankFile(folder_, 0, 0, false).empty();
    int64_t first_layer = 0;
    for (int stage = 0; stage < kMostRanks; ++stage) {
      ASSIGN_OR_RETURN(const Parts parts, ReadStage(stage, has_stages));
      if (parts.empty()) break;
      ASSIGN_OR_RETURN(first_layer, AddStage(parts, first_layer));
      if (!has_stages) break;
    }
    return std::move(found_);
  }

 private:
  absl::StatusOr<WeightFiles> ScanDist() {
    const std::string inside = Iteration(folder_);
    const std::string name = inside + kCommon;
    ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder_ / name));
    ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> common, TorchFile::Read(*file));
    RETURN_IF_ERROR(TakeArgs(*common, name));
    heads_.version = 3.0;  // the oldest that wrote it
    ASSIGN_OR_RETURN(const auto tensors, ReadTorchDist(folder_, inside, found_));
    Parts parts;
    for (const auto& [native, tensor] : tensors) AddUnstacked(native, tensor, &parts);
    RETURN_IF_ERROR(AddStage(parts, 0).status());
    return std::move(found_);
  }

  // Layers that are alike are one tensor, "decoder.layers.NAME", with the layer in front.
  static void AddUnstacked(const std::string& native, const FoundTensor& tensor, Parts* parts) {
    constexpr std::string_view kLayers = "layers.";
    const size_t at = native.find(kLayers);
    const size_t behind = at + kLayers.size();
    const bool stacked = at != native.npos && behind < native.size() &&
                         (native[behind] < '0' || native[behind] > '9') && !tensor.shape.empty() &&
                         tensor.shape[0] <= kMostLayers;
    if (!stacked) {
      (*parts)[native].push_back(tensor);
      return;
    }
    for (int64_t layer = 0; layer < tensor.shape[0]; ++layer) {
      const std::string name =
          absl::StrCat(native.substr(0, behind), layer, ".", native.substr(behind));
      (*parts)[name].push_back(Unstacked(tensor, layer));
    }
  }

  absl::StatusOr<Parts> ReadStage(int stage, bool has_stages) {
    Parts parts;
    for (int rank = 0; rank < kMostRanks; ++rank) {
      const std::string name = RankFile(folder_, rank, stage, has_stages);
      if (name.empty()) break;
      ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder_ / name));
      ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> torch, TorchFile::Read(*file));
      if (found_.files.empty()) RETURN_IF_ERROR(TakeArgs(*torch, name));
      const int index = static_cast<int>(found_.files.size());
      found_.files.push_back({name, file->size(), 0, IndexText(torch->index())});
      RETURN_IF_ERROR(AddParts(*torch, index, &parts));
    }
    return parts;
  }

  absl::Status AddParts(const TorchFile& torch, int index, Parts* parts) {
    constexpr std::string_view kModel = "model.";
    for (const IndexedTensor& tensor : torch.index().tensors()) {
      if (tensor.name.starts_with("model0.")) {
        return absl::UnimplementedError(
            absl::StrCat("shard_loader: ", found_.files[index].name,
                         ": stages interleaved by virtual pipelining are not supported"));
      }
      if (!tensor.name.starts_with(kModel)) continue;
      (*parts)[tensor.name.substr(kModel.size())].push_back(WholeTensor(index, tensor));
    }
    return absl::OkStatus();
  }

  absl::Status TakeArgs(const TorchFile& torch, const std::string& name) {
    const nlohmann::json args = ArgsOf(torch);
    absl::StatusOr<std::string> config = ReadConfigJson(folder_);
    if (absl::IsNotFound(config.status())) {
      config = IsMegatronGpt(args) ? ConfigOfMegatronGpt(args) : ConfigOfMegatron(args, name);
    }
    ASSIGN_OR_RETURN(found_.config, std::move(config));
    ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(found_.config, "config.json"));
    const auto number = [&](const char* key, int64_t fallback) {
      const auto value = json.find(key);
      return value != json.end() && value->is_number_integer() ? value->get<int64_t>() : fallback;
    };
    const auto type = json.find("model_type");
    is_gpt2_ = type != json.end() && *type == "gpt2";
    heads_.heads = number(is_gpt2_ ? "n_head" : "num_attention_heads", 0);
    heads_.groups = number("num_key_value_heads", heads_.heads);
    const int64_t whole =
        heads_.heads > 0 ? number(is_gpt2_ ? "n_embd" : "hidden_size", 0) / heads_.heads : 0;
    heads_.head_size = number("head_dim", whole);
    heads_.version = VersionOf(torch);
    heads_.interleaved = args.contains("rotary_interleaved") && args["rotary_interleaved"] == true;
    vocab_size_ = number("vocab_size", 0);
    const bool whole_heads = heads_.groups > 0 && heads_.heads > 0 && heads_.heads <= kMostHeads &&
                             heads_.heads % heads_.groups == 0 && heads_.head_size > 1 &&
                             heads_.head_size <= kMostHeads;
    if (whole_heads) {
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: ", name, ": the arguments give no whole attention heads"));
  }

  // Returns the first layer of the next stage.
  absl::StatusOr<int64_t> AddStage(const Parts& parts, int64_t first_layer) {
    int64_t layers = 0;
    for (const auto& [native, tensors] : parts) {
      const std::string& file =
          found_.files[tensors[0].pieces.empty() ? 0 : tensors[0].pieces[0].file].name;
      ASSIGN_OR_RETURN(const MegatronName name, is_gpt2_ ? Gpt2NameOfMegatron(native, file)
                                                         : HuggingFaceNameOfMegatron(native, file));
      if (name.part == MegatronPart::kNothing) continue;
      layers = std::max(layers, name.layer + 1);
      const std::string prefix = name.layer < 0
                                     ? ""
                                     : absl::StrCat(is_gpt2_ ? "transformer.h." : "model.layers.",
                                                    first_layer + name.layer, ".");
      RETURN_IF_ERROR(AddOne(tensors, name, prefix, file));
    }
    return first_layer + layers;
  }

  absl::Status AddOne(const std::vector<FoundTensor>& parts, const MegatronName& name,
                      const std::string& prefix, const std::string& file) {
    if (is_gpt2_ && name.layer >= 0) return AddGpt2(parts, name, prefix + name.name, file);
    if (name.part == MegatronPart::kQkv) {
      ASSIGN_OR_RETURN(QkvTensors qkv, SplitQkv(parts, heads_, file));
      RETURN_IF_ERROR(AddTensor(found_, prefix + "self_attn.q_proj." + name.name, qkv.query));
      RETURN_IF_ERROR(AddTensor(found_, prefix + "self_attn.k_proj." + name.name, qkv.key));
      return AddTensor(found_, prefix + "self_attn.v_proj." + name.name, qkv.value);
    }
    if (name.part == MegatronPart::kGateUp) {
      ASSIGN_OR_RETURN(GateUpTensors both, SplitGateUp(parts, file));
      RETURN_IF_ERROR(AddTensor(found_, prefix + "mlp.gate_proj." + name.name, both.gate));
      return AddTensor(found_, prefix + "mlp.up_proj." + name.name, both.up);
    }
    FoundTensor whole = parts[0];
    if (name.part != MegatronPart::kWhole) {
      ASSIGN_OR_RETURN(whole, Joined(parts, name.part == MegatronPart::kColumns ? 1 : 0, file));
    }
    if (name.part == MegatronPart::kVocab && vocab_size_ > 0) {
      whole = FirstRows(std::move(whole), vocab_size_);
      // The last stage keeps a copy of tied embeddings.
      if (found_.tensors.contains(prefix + name.name)) return absl::OkStatus();
    }
    return AddTensor(found_, prefix + name.name, std::move(whole));
  }

  // A weight of a layer of GPT-2: queries, keys and values in one, matrices [in, out].
  absl::Status AddGpt2(const std::vector<FoundTensor>& parts, const MegatronName& part,
                       const std::string& name, const std::string& file) {
    FoundTensor whole = parts[0];
    if (part.part == MegatronPart::kQkv) {
      ASSIGN_OR_RETURN(const QkvTensors qkv, SplitQkv(parts, heads_, file));
      ASSIGN_OR_RETURN(whole, Joined({qkv.query, qkv.key, qkv.value}, 0, file));
    } else if (part.part != MegatronPart::kWhole) {
      ASSIGN_OR_RETURN(whole, Joined(parts, part.part == MegatronPart::kColumns ? 1 : 0, file));
    }
    return AddTensor(found_, name, Turned(std::move(whole)));
  }

  const fs::path& folder_;
  WeightFiles found_;
  bool is_gpt2_ = false;
  QkvLayout heads_;
  int64_t vocab_size_ = 0;
};

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) { return Scanner(folder).Scan(); }

}  // namespace

const CheckpointFormat& MegatronFormat() {
  static constexpr CheckpointFormat kFormat{
      "megatron",
      "Megatron-LM ranks (mp_rank_TT[_PPP], versions 0 to 3, Core names), any tensor and pipeline "
      "degrees; Core's torch_dist; models like Llama and GPT",
      IsHere, Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
