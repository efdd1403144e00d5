// Meta's consolidated.NN.pth (FairScale's model parallelism) beside params.json.
#include <algorithm>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/torch_file.h"
#include "shard_loader/io/byte_file.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/joined.h"
#include "shard_loader/model/meta.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kParams = "params.json";
constexpr int kMostFiles = 64;

std::string FileName(int index) {
  return absl::StrCat("consolidated.", index < 10 ? "0" : "", index, ".pth");
}

int CountFiles(const fs::path& folder) {
  std::error_code error;
  int count = 0;
  while (count < kMostFiles && fs::exists(folder / FileName(count), error)) ++count;
  return count;
}

bool IsHere(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kParams, error) && fs::exists(folder / FileName(0), error);
}

struct Params {
  std::string text;
  int64_t dim = 0;
  int64_t head_size = 0;
};

absl::StatusOr<Params> ReadParams(const fs::path& folder) {
  Params params;
  ASSIGN_OR_RETURN(params.text, ReadSmallFile(folder / kParams, 1 << 20));
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(params.text, kParams));
  const auto number = [&](const char* key) -> int64_t {
    const auto found = json.find(key);
    return found != json.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
  };
  params.dim = number("dim");
  const int64_t heads = number("n_heads");
  params.head_size = number("head_dim") > 0 ? number("head_dim")
                     : heads > 0            ? params.dim / heads
                                            : 0;
  if (params.dim < 1 || params.head_size < 2 || params.head_size % 2 != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "shard_loader: ", kParams, ": dim and n_heads are missing or make no even heads"));
  }
  return params;
}

// The parts of one tensor, one from each file.
absl::StatusOr<FoundTensor> Join(const std::vector<FoundTensor>& parts, const MetaName& name,
                                 const Params& params) {
  if (name.cut == MetaCut::kNone || parts.size() == 1) return parts[0];
  bool by_rows = name.cut == MetaCut::kRows;
  if (name.cut == MetaCut::kByShape) {
    by_rows = parts[0].shape.size() == 2 && parts[0].shape[1] == params.dim;
  }
  return Joined(parts, by_rows ? 0 : 1, kParams);
}

absl::StatusOr<FoundTensor> Uninterleave(FoundTensor tensor, int64_t head_size) {
  std::vector<SourcePiece> pieces;
  for (const SourcePiece& piece : tensor.pieces) {
    if (piece.rows.size() % head_size != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: ", kParams, ": tensor '", Excerpt(tensor.name),
                       "' is cut inside of a head of ", head_size));
    }
    const std::vector<SourcePiece> halves = HalvesOfHeads(piece, head_size);
    pieces.insert(pieces.end(), halves.begin(), halves.end());
  }
  tensor.pieces = std::move(pieces);
  return tensor;
}

absl::StatusOr<WeightFiles> Scan(const fs::path& folder) {
  ASSIGN_OR_RETURN(const Params params, ReadParams(folder));
  WeightFiles found;
  const int count = CountFiles(folder);
  std::map<std::string, std::vector<FoundTensor>> parts;  // by Meta's name
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const std::unique_ptr<ByteFile> file, ByteFile::Open(folder / FileName(i)));
    ASSIGN_OR_RETURN(const std::unique_ptr<TorchFile> torch, TorchFile::Read(*file));
    found.files.push_back({FileName(i), file->size(), 0, IndexText(torch->index())});
    for (const IndexedTensor& tensor : torch->index().tensors()) {
      parts[tensor.name].push_back(WholeTensor(i, tensor));
    }
  }
  MetaFacts facts;
  for (const auto& [native, tensors] : parts) {
    const MetaName name = HuggingFaceNameOfMeta(native);
    if (name.name.empty()) {  // rope.freqs and the like
      RETURN_IF_ERROR(AddTensor(found, native, tensors[0]));
      continue;
    }
    if (static_cast<int>(tensors.size()) != count) {
      return absl::FailedPreconditionError(absl::StrCat("shard_loader: tensor '", Excerpt(native),
                                                        "' is in ", tensors.size(), " of the ",
                                                        count, " consolidated files"));
    }
    ASSIGN_OR_RETURN(FoundTensor whole, Join(tensors, name, params));
    if (name.interleaved) {
      ASSIGN_OR_RETURN(whole, Uninterleave(std::move(whole), params.head_size));
    }
    if (native == "tok_embeddings.weight") facts.vocab_size = whole.shape[0];
    if (native == "layers.0.feed_forward.w1.weight") facts.mlp_columns = whole.shape[0];
    RETURN_IF_ERROR(AddTensor(found, name.name, std::move(whole)));
  }
  ASSIGN_OR_RETURN(found.config, ConfigOfMeta(params.text, facts));
  return found;
}

}  // namespace

const CheckpointFormat& MetaFormat() {
  static constexpr CheckpointFormat kFormat{
      "meta", "Meta's consolidated.NN.pth with params.json, any number of files", IsHere, Scan};
  return kFormat;
}

}  // namespace tessera::shard_loader
