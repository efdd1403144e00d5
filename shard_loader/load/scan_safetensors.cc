// Hugging Face safetensors, one file or several by an index.
#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/weight_index.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/formats.h"
#include "shard_loader/load/safetensors_file.h"
#include "shard_loader/load/scaled_fp8.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

// Adds the tensors of a file; where `index` is given, only those which it says are here.
absl::Status AddFile(const fs::path& folder, const std::string& name, const WeightIndex* index,
                     WeightFiles& found) {
  SafetensorsTensors tensors;
  RETURN_IF_ERROR(ReadSafetensorsFile(folder, name, found, &tensors));
  for (auto& [key, tensor] : tensors) {
    if (index != nullptr) {
      const auto said = index->file_of.find(key);
      if (said == index->file_of.end() || said->second != name) continue;
    }
    found.tensors.emplace(key, std::move(tensor));
  }
  return absl::OkStatus();
}

// One piece for each expert, turned.
FoundTensor Mxfp4(const FoundTensor& blocks, const FoundTensor& scales) {
  constexpr int64_t kBlockBytes = 16;
  constexpr int64_t kElements = 32;
  const int64_t rows = blocks.shape[1];
  const int64_t columns = blocks.shape[2] * kElements;
  FoundTensor whole{.name = blocks.name, .type = StoredType::kMxfp4};
  whole.shape = {blocks.shape[0], columns, rows};
  for (int64_t expert = 0; expert < blocks.shape[0]; ++expert) {
    SourcePiece piece = blocks.pieces[0];
    piece.type = StoredType::kMxfp4;
    piece.scales_file = scales.pieces[0].file;
    piece.scales_begin = scales.pieces[0].offset;
    piece.blocks_begin = piece.offset;
    piece.row_stride = blocks.shape[2] * kBlockBytes;
    piece.column_stride = kBlockBytes;
    piece.offset += static_cast<uint64_t>(expert * rows * piece.row_stride);
    piece.rows = {0, rows};
    piece.columns = {0, columns};
    whole.pieces.push_back(MovedTo(Transposed(piece), expert * columns, 0));
  }
  return whole;
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

// Experts in MXFP4 are published as NAME_blocks [experts, rows, blocks, 16] and NAME_scales
// [experts, rows, blocks], where NAME in 16 bits is [experts, columns, rows].
absl::Status JoinMxfp4(WeightFiles& found) {
  constexpr std::string_view kBlocks = "_blocks";
  std::vector<std::pair<std::string, FoundTensor>> joined;
  for (const auto& [name, blocks] : found.tensors) {
    if (!name.ends_with(kBlocks) || blocks.type != StoredType::kU8) continue;
    std::string whole = name.substr(0, name.size() - kBlocks.size());
    const auto scales = found.tensors.find(whole + "_scales");
    if (scales == found.tensors.end() || blocks.shape.size() != 4 || blocks.shape[3] != 16 ||
        blocks.pieces.size() != 1 || scales->second.pieces.size() != 1 ||
        scales->second.type != StoredType::kU8 ||
        std::find(blocks.shape.begin(), blocks.shape.end(), 0) != blocks.shape.end() ||
        !std::equal(scales->second.shape.begin(), scales->second.shape.end(), blocks.shape.begin(),
                    blocks.shape.begin() + 3)) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: tensor '", Excerpt(name),
                       "' has no scales that fit beside it, as MXFP4 needs them"));
    }
    joined.emplace_back(std::move(whole), Mxfp4(blocks, scales->second));
  }
  for (auto& [name, tensor] : joined) {
    found.tensors.erase(name + "_scales");
    found.tensors.erase(name + std::string(kBlocks));
    if (!found.tensors.emplace(name, std::move(tensor)).second) {
      return absl::DataLossError(absl::StrCat("shard_loader: tensor '", Excerpt(name),
                                              "' is there in MXFP4 and as it is"));
    }
  }
  return absl::OkStatus();
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
  RETURN_IF_ERROR(JoinMxfp4(found));
  RETURN_IF_ERROR(JoinScaledFp8(config, found));
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
