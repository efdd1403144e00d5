#include "shard_loader/load/joined.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {

absl::StatusOr<FoundTensor> Joined(const std::vector<FoundTensor>& parts, int axis,
                                   const std::string& file) {
  FoundTensor whole = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    const FoundTensor& part = parts[i];
    const size_t dimensions = whole.shape.size();
    const size_t other = 1 - static_cast<size_t>(axis);
    const bool fits = part.shape.size() == dimensions && dimensions <= 2 &&
                      static_cast<size_t>(axis) < dimensions &&
                      (dimensions < 2 || part.shape[other] == whole.shape[other]);
    if (!fits) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: ", file, ": the parts of tensor '", Excerpt(part.name),
                       "' do not fit together"));
    }
    for (const SourcePiece& piece : part.pieces) {
      const int64_t row = piece.rows.begin + (axis == 0 ? whole.shape[0] : 0);
      const int64_t column = piece.columns.begin + (axis == 1 ? whole.shape[1] : 0);
      whole.pieces.push_back(MovedTo(piece, row, column));
    }
    whole.shape[axis] += part.shape[axis];
  }
  return whole;
}

FoundTensor FirstRows(FoundTensor tensor, int64_t rows) {
  if (tensor.shape.empty() || tensor.shape[0] <= rows) return tensor;
  std::vector<SourcePiece> kept;
  for (SourcePiece& piece : tensor.pieces) {
    piece.rows.end = std::min(piece.rows.end, rows);
    if (piece.rows.end > piece.rows.begin) kept.push_back(piece);
  }
  tensor.pieces = std::move(kept);
  tensor.shape[0] = rows;
  return tensor;
}

absl::Status AddTensor(WeightFiles& files, const std::string& name, FoundTensor tensor) {
  if (files.tensors.emplace(name, std::move(tensor)).second) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("shard_loader: tensor '", Excerpt(name), "' is in the checkpoint twice"));
}

}  // namespace tessera::shard_loader
