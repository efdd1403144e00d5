// GGUF: one file that carries everything, configuration and tokenizer included.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/gguf.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/model/gguf.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostRopeFactors = 4096;
constexpr int64_t kMostExperts = 4096;
constexpr size_t kMostTextBytes = 256;  // of a metadata text that a configuration needs

std::vector<std::string> GgufFiles(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".gguf") names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

nlohmann::json ScalarsOf(const GgufFile& gguf) {
  nlohmann::json scalars = nlohmann::json::object();
  for (const auto& [key, value] : gguf.metadata()) {
    if (const auto integer = value.Integer()) {
      scalars[key] = *integer;
    } else if (const auto number = value.Number()) {
      scalars[key] = *number;
    } else if (const auto flag = value.Bool()) {
      scalars[key] = *flag;
    } else if (const auto text = value.Text(); text && text->size() <= kMostTextBytes) {
      scalars[key] = Excerpt(*text);
    }
  }
  return scalars;
}

absl::StatusOr<std::vector<double>> RopeFactors(const ByteFile& file, const GgufFile& gguf) {
  std::vector<double> factors;
  const IndexedTensor* tensor = gguf.index().Find("rope_freqs.weight");
  if (tensor == nullptr) return factors;
  if (tensor->type != StoredType::kF32 || tensor->shape.size() != 1 || tensor->data.bytes == 0 ||
      tensor->data.bytes > kMostRopeFactors * sizeof(float)) {
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", file.name(), ": rope_freqs.weight is no vector of f32"));
  }
  ASSIGN_OR_RETURN(const std::string bytes,
                   ReadString(file, tensor->data.offset, tensor->data.bytes));
  for (size_t i = 0; i < bytes.size(); i += sizeof(float)) {
    float factor = 0;
    std::memcpy(&factor, bytes.data() + i, sizeof(factor));
    factors.push_back(factor);
  }
  return factors;
}

absl::StatusOr<std::string> MakeConfig(const ByteFile& file, const GgufFile& gguf,
                                       const nlohmann::json& metadata) {
  GgufFacts facts{.metadata = metadata};
  for (const char* factors : {"rope_factors_long.weight", "rope_factors_short.weight"}) {
    if (gguf.index().Find(factors) == nullptr) continue;
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", file.name(), ": '", factors,
                     "' is there: longrope is not supported in GGUF, but from config.json is"));
  }
  const IndexedTensor* embedding = gguf.index().Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: ", file.name(),
                     ": token_embd.weight is missing or no matrix; a GGUF file "
                     "that was split must be joined first"));
  }
  facts.vocab_size = embedding->shape[0];
  facts.has_head = gguf.index().Find("output.weight") != nullptr;
  facts.has_attention_bias = gguf.index().Find("blk.0.attn_q.bias") != nullptr;
  ASSIGN_OR_RETURN(facts.rope_factors, RopeFactors(file, gguf));
  return ConfigOfGguf(facts, file.name());
}

// The size of a head, for the rows of q and k; 0 where the metadata does not say it.
int64_t HeadSize(const GgufFile& gguf, const std::string& architecture) {
  const auto number = [&](const char* key) -> int64_t {
    const GgufValue* value = gguf.Find(absl::StrCat(architecture, ".", key));
    return value == nullptr ? 0 : value->Integer().value_or(0);
  };
  if (number("attention.key_length") > 0) return number("attention.key_length");
  const int64_t heads = number("attention.head_count");
  return heads > 0 ? number("embedding_length") / heads : 0;
}

// Adds a tensor under its name: one for each of the experts that are stacked in it.
absl::Status AddNamed(const std::string& name, FoundTensor tensor, WeightFiles& found) {
  const size_t expert = name.find("{e}");
  if (expert == name.npos || tensor.shape.size() != 3) {
    // The gate of a shared expert is a row, which many files have as a vector.
    if (name.ends_with(".shared_expert_gate.weight") && tensor.shape.size() == 1) {
      tensor.shape.push_back(1);
      tensor = Turned(std::move(tensor));
    }
    return AddTensor(found, name, std::move(tensor));
  }
  for (int64_t i = 0; i < std::min(tensor.shape[0], kMostExperts); ++i) {
    std::string own = name;
    own.replace(expert, 3, std::to_string(i));
    RETURN_IF_ERROR(AddTensor(found, own, Unstacked(tensor, i)));
  }
  return absl::OkStatus();
}

absl::Status UndoInterleaving(const GgufFile& gguf, const nlohmann::json& metadata,
                              const GgufArchitecture* architecture, WeightFiles& found) {
  if (architecture == nullptr || !GgufInterleavesRope(*architecture)) return absl::OkStatus();
  const int64_t head_size = HeadSize(gguf, metadata["general.architecture"].get<std::string>());
  for (auto& [name, tensor] : found.tensors) {
    const bool rotated = name.find(".self_attn.q_proj.") != name.npos ||
                         name.find(".self_attn.k_proj.") != name.npos;
    if (!rotated || tensor.pieces.size() != 1) continue;
    if (head_size < 2 || head_size % 2 != 0 || tensor.shape[0] % head_size != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: ", found.files[0].name, ": tensor '", Excerpt(tensor.name),
                       "' has ", tensor.shape[0], " rows, no whole heads of ", head_size));
    }
    tensor.pieces = HalvesOfHeads(tensor.pieces[0], head_size);
  }
  return absl::OkStatus();
}

bool IsHere(const fs::path& folder) { return !GgufFiles(folder).empty(); }

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) {
  const std::vector<std::string> names = GgufFiles(folder);
  if (names.size() != 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: ", folder.string(), " holds ", names.size(),
                     " .gguf files, expected one; keep each in a folder of its own"));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder / names[0]));
  ASSIGN_OR_RETURN(const std::unique_ptr<GgufFile> gguf, GgufFile::Read(*file));
  WeightFiles found;
  const nlohmann::json metadata = ScalarsOf(*gguf);
  ASSIGN_OR_RETURN(found.config, MakeConfig(*file, *gguf, metadata));
  found.files.push_back({names[0], file->size(), 0, IndexText(gguf->index())});
  const GgufArchitecture* architecture = FindGgufArchitecture(metadata);
  for (const IndexedTensor& tensor : gguf->index().tensors()) {
    if (tensor.name == "rope_freqs.weight") continue;  // is in the configuration
    RETURN_IF_ERROR(
        AddNamed(HuggingFaceNameOfGguf(tensor.name, architecture), WholeTensor(0, tensor), found));
  }
  RETURN_IF_ERROR(UndoInterleaving(*gguf, metadata, architecture, found));
  return found;
}

}  // namespace

const CheckpointFormat& GgufFormat() {
  static constexpr CheckpointFormat kFormat{
      "gguf",
      "GGUF 2 and 3 (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K; vocabulary "
      "and chat template)",
      IsHere, Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
