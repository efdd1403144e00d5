#include "shard_loader/load/stored_weight.h"

#include <algorithm>

#include "shard_loader/model/stored_rows.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/plan/rounding.h"

namespace tessera::shard_loader {
namespace {

// A matrix read row after row, as one column.
std::vector<SourcePiece> AsOneColumn(const std::vector<SourcePiece>& pieces, int64_t columns) {
  std::vector<SourcePiece> result;
  for (const SourcePiece& piece : pieces) {
    for (int64_t row = 0; row < piece.rows.size(); ++row) {
      const SourcePiece one = Transposed(RowsOf(piece, {row, row + 1}));
      const int64_t place = (piece.rows.begin + row) * columns + piece.columns.begin;
      result.push_back(MovedTo(one, place, 0));
    }
  }
  return result;
}

int64_t WidthOf(const std::vector<SourcePiece>& pieces) {
  int64_t width = 0;
  for (const SourcePiece& piece : pieces) width = std::max(width, piece.columns.end);
  return width;
}

}  // namespace

std::vector<SourcePiece> SelectRows(const std::vector<SourcePiece>& pieces, Range from,
                                    int64_t step, int64_t to) {
  const int64_t count = CeilDiv(from.size(), step);
  std::vector<SourcePiece> result;
  for (const SourcePiece& piece : pieces) {
    const int64_t first = CeilDiv(std::max<int64_t>(0, piece.rows.begin - from.begin), step);
    const int64_t last =
        std::min(count, CeilDiv(std::max<int64_t>(0, piece.rows.end - from.begin), step));
    if (first >= last) continue;
    const int64_t begin = from.begin + first * step - piece.rows.begin;
    SourcePiece part = RowsOf(piece, {begin, begin + last - first});
    part.row_stride *= step;
    result.push_back(MovedTo(part, to + first, piece.columns.begin));
  }
  return result;
}

std::vector<SourcePiece> WeightPieces(const DecoderSpec& spec, TensorId id,
                                      const NamePattern& pattern,
                                      const std::vector<SourcePiece>& pieces) {
  std::vector<SourcePiece> own = pieces;
  const std::vector<int64_t> shape = TensorShape(spec, id.role);
  const bool is_matrix = shape.size() == 2;
  if (HoldsAllExperts(pattern)) {
    // Rows of one expert: one of a vector's tensor, else as many as the matrix has as stored.
    const int64_t rows = is_matrix ? StoredShape(spec, pattern)[1] : 1;
    own = SelectRows(own, {id.expert * rows, (id.expert + 1) * rows}, 1, 0);
  }
  if (!is_matrix && WidthOf(own) > 1) own = AsOneColumn(own, WidthOf(own));
  if (pattern.transposed) {
    for (SourcePiece& piece : own) piece = Transposed(piece);
  }
  std::vector<SourcePiece> result;
  for (const RowRun& run : RowsInStored(spec, pattern)) {
    const Range from{run.stored, run.stored + run.count * run.step};
    const std::vector<SourcePiece> part = SelectRows(own, from, run.step, run.ours);
    result.insert(result.end(), part.begin(), part.end());
  }
  return result;
}

}  // namespace tessera::shard_loader
