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

FoundTensor Turned(FoundTensor tensor) {
  if (tensor.shape.size() != 2) return tensor;
  std::swap(tensor.shape[0], tensor.shape[1]);
  for (SourcePiece& piece : tensor.pieces) piece = Transposed(piece);
  return tensor;
}

FoundTensor Squeezed(FoundTensor tensor, bool vector) {
  while (tensor.shape.size() > 2 && tensor.shape[0] == 1) tensor.shape.erase(tensor.shape.begin());
  if (!vector || tensor.shape.size() != 2 || tensor.shape[0] != 1) return tensor;
  tensor.shape.erase(tensor.shape.begin());
  for (SourcePiece& piece : tensor.pieces) piece = Transposed(piece);
  return tensor;
}

FoundTensor Unstacked(const FoundTensor& stack, int64_t index) {
  FoundTensor tensor{.name = stack.name, .type = stack.type};
  tensor.shape.assign(stack.shape.begin() + 1, stack.shape.end());
  const bool are_vectors = tensor.shape.size() == 1;  // each a row
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) rows *= tensor.shape[i];
  for (const SourcePiece& piece : stack.pieces) {
    const int64_t begin = std::max(piece.rows.begin, index * rows);
    const int64_t end = std::min(piece.rows.end, (index + 1) * rows);
    if (begin >= end) continue;
    SourcePiece part = RowsOf(piece, {begin - piece.rows.begin, end - piece.rows.begin});
    part = MovedTo(part, begin - index * rows, piece.columns.begin);
    tensor.pieces.push_back(are_vectors ? Transposed(part) : part);
  }
  return tensor;
}

absl::Status AddTensor(WeightFiles& files, const std::string& name, FoundTensor tensor) {
  if (files.tensors.emplace(name, std::move(tensor)).second) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("shard_loader: tensor '", Excerpt(name), "' is in the checkpoint twice"));
}

}  // namespace tessera::shard_loader
