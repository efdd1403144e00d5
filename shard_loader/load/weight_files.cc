#include "shard_loader/load/weight_files.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/io/file.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr uint64_t kMostConfigBytes = 4 << 20;

}  // namespace

FoundTensor WholeTensor(int file, IndexedTensor tensor) {
  FoundTensor found{.type = tensor.type};
  if (HasFlatRows(tensor)) found.pieces.push_back(PieceOf(file, tensor));
  found.name = std::move(tensor.name);
  found.shape = std::move(tensor.shape);
  return found;
}

DType HandedOutAs(const std::vector<SourcePiece>& pieces) {
  const auto one = [](StoredType type) {
    if (type == StoredType::kF16) return DType::kF16;
    const bool is_bf16 =
        type == StoredType::kBF16 || type == StoredType::kMxfp4 || type == StoredType::kScaledFp8;
    return is_bf16 ? DType::kBF16 : DType::kF32;
  };
  if (pieces.empty()) return DType::kF32;
  const DType first = one(pieces[0].type);
  const bool alike = std::all_of(pieces.begin(), pieces.end(), [&](const SourcePiece& piece) {
    return one(piece.type) == first;
  });
  return alike ? first : DType::kF32;
}

std::string IndexText(const TensorIndex& index) {
  std::string text;
  for (const IndexedTensor& tensor : index.tensors()) {
    absl::StrAppend(&text, tensor.name.size(), " ", tensor.name, " ",
                    std::string(StoredTypeName(tensor.type)), " ", absl::StrJoin(tensor.shape, ","),
                    " ", absl::StrJoin(tensor.strides, ","), " ", tensor.data.offset, " ",
                    tensor.data.bytes, "\n");
  }
  return text;
}

absl::StatusOr<std::string> ReadConfigJson(const std::filesystem::path& folder) {
  absl::StatusOr<std::string> config = ReadSmallFile(folder / "config.json", kMostConfigBytes);
  if (absl::IsNotFound(config.status())) {
    return absl::NotFoundError(absl::StrCat("shard_loader: no config.json in ", folder.string(),
                                            "; give the folder of a Hugging Face checkpoint"));
  }
  return config;
}

}  // namespace tessera::shard_loader
