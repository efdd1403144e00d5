#include "shard_loader/load/source_piece.h"

#include <algorithm>
#include <utility>

namespace tessera::shard_loader {
namespace {

Range Common(Range a, Range b) {
  const Range common{std::max(a.begin, b.begin), std::min(a.end, b.end)};
  return common.end > common.begin ? common : Range{common.begin, common.begin};
}

bool IsBlocks(const SourcePiece& piece) { return BlockOf(piece.type).elements > 1; }

// The part of `piece` inside of a rectangle of the weight, still at its place in the weight.
SourcePiece Inside(SourcePiece piece, Range rows, Range columns) {
  const Range common_rows = Common(piece.rows, rows);
  const Range common_columns = Common(piece.columns, columns);
  piece.offset += static_cast<uint64_t>((common_rows.begin - piece.rows.begin) * piece.row_stride);
  if (!IsBlocks(piece)) {
    piece.offset +=
        static_cast<uint64_t>((common_columns.begin - piece.columns.begin) * piece.column_stride);
  }
  piece.rows = common_rows;
  piece.columns = common_columns;
  return piece;
}

}  // namespace

bool HasFlatRows(const IndexedTensor& tensor) {
  for (size_t i = 0; i + 2 < tensor.shape.size(); ++i) {
    if (tensor.strides[i] != tensor.strides[i + 1] * tensor.shape[i + 1]) return false;
  }
  return true;
}

SourcePiece PieceOf(int file, const IndexedTensor& tensor) {
  const StoredBlock block = BlockOf(tensor.type);
  SourcePiece piece{.file = file, .type = tensor.type, .offset = tensor.data.offset};
  piece.rows = {0, tensor.shape.empty() ? 1 : tensor.shape[0]};
  piece.columns = {0, tensor.shape.size() > 1 ? tensor.shape.back() : 1};
  for (size_t i = 1; i + 1 < tensor.shape.size(); ++i) piece.rows.end *= tensor.shape[i];
  piece.column_stride = block.bytes;
  if (tensor.shape.size() > 1) {
    const int64_t row = tensor.strides[tensor.strides.size() - 2];
    piece.row_stride = row / block.elements * block.bytes;
    if (block.elements == 1) piece.column_stride = tensor.strides.back() * block.bytes;
  } else if (!tensor.strides.empty()) {
    piece.row_stride = tensor.strides[0] * block.bytes;
  }
  if (tensor.codec != Codec::kNone) {
    piece.codec = tensor.codec;
    piece.record = tensor.data;
    piece.inflated_bytes = tensor.inflated_bytes;
    piece.offset = tensor.inflated_offset;
  }
  return piece;
}

SourcePiece RowsOf(SourcePiece piece, Range part) {
  if (piece.blocks_down) return Transposed(ColumnsOf(Transposed(piece), part));
  piece.offset += static_cast<uint64_t>(part.begin * piece.row_stride);
  piece.rows = {0, part.size()};
  return piece;
}

SourcePiece ColumnsOf(SourcePiece piece, Range part) {
  if (piece.blocks_down) return Transposed(RowsOf(Transposed(piece), part));
  const StoredBlock block = BlockOf(piece.type);
  piece.offset +=
      static_cast<uint64_t>(block.elements > 1 ? part.begin / block.elements * block.bytes
                                               : part.begin * piece.column_stride);
  piece.columns = {0, part.size()};
  return piece;
}

SourcePiece Transposed(SourcePiece piece) {
  std::swap(piece.rows, piece.columns);
  std::swap(piece.row_stride, piece.column_stride);
  if (IsBlocks(piece)) piece.blocks_down = !piece.blocks_down;
  return piece;
}

SourcePiece MovedTo(SourcePiece piece, int64_t row, int64_t column) {
  piece.rows = {row, row + piece.rows.size()};
  piece.columns = {column, column + piece.columns.size()};
  return piece;
}

std::vector<SourcePiece> HalvesOfHeads(const SourcePiece& piece, int64_t head_size) {
  std::vector<SourcePiece> halves;
  const int64_t half = head_size / 2;
  for (int64_t first = 0; first < piece.rows.size(); first += half) {
    const int64_t odd = first / half % 2;
    SourcePiece part = RowsOf(piece, {first - odd * half + odd, first - odd * half + odd + half});
    part.row_stride *= 2;
    halves.push_back(MovedTo(part, piece.rows.begin + first, piece.columns.begin));
  }
  return halves;
}

std::vector<SourcePiece> FlatPieces(const SourcePiece& front, int64_t columns, Range elements) {
  const int64_t size = BlockOf(front.type).bytes;
  std::vector<SourcePiece> pieces;
  int64_t at = elements.begin;
  while (at < elements.end) {
    const int64_t row = at / columns;
    const int64_t column = at % columns;
    const int64_t left = elements.end - at;
    SourcePiece piece = front;
    piece.offset += static_cast<uint64_t>((at - elements.begin) * size);
    piece.row_stride = columns * size;
    piece.column_stride = size;
    const bool whole = column == 0 && left >= columns;
    const int64_t rows = whole ? left / columns : 1;
    const int64_t width = whole ? columns : std::min(left, columns - column);
    piece.rows = {row, row + rows};
    piece.columns = {column, column + width};
    pieces.push_back(piece);
    at += rows * width;
  }
  return pieces;
}

PieceReads ReadsOf(const SourcePiece& piece, Range rows, Range columns) {
  PieceReads reads{.part = Inside(piece, rows, columns)};
  SourcePiece& part = reads.part;
  const int64_t height = part.rows.size();
  const int64_t width = part.columns.size();
  if (height == 0 || width == 0) return reads;
  const StoredBlock block = BlockOf(part.type);
  if (block.elements > 1) {
    const int64_t begin = part.columns.begin - piece.columns.begin;
    const int64_t first = begin / block.elements;
    const int64_t last = (begin + width - 1) / block.elements;
    part.offset += static_cast<uint64_t>(first * block.bytes);
    reads.skipped = begin - first * block.elements;
    reads.count = static_cast<uint64_t>(height);
    reads.bytes = static_cast<uint64_t>((last - first + 1) * block.bytes);
    reads.stride = static_cast<uint64_t>(part.row_stride);
    return reads;
  }
  reads.by_column = width == 1 || (height > 1 && part.row_stride < part.column_stride);
  const int64_t inner = reads.by_column ? height : width;
  const int64_t inner_stride = reads.by_column ? part.row_stride : part.column_stride;
  reads.count = static_cast<uint64_t>(reads.by_column ? width : height);
  reads.bytes = static_cast<uint64_t>((inner - 1) * inner_stride + block.bytes);
  reads.stride = static_cast<uint64_t>(reads.by_column ? part.column_stride : part.row_stride);
  return reads;
}

bool CoverExactly(const std::vector<SourcePiece>& pieces, int64_t rows, int64_t columns) {
  // Sweep over the rows: between two borders of pieces, those that are there must tile the columns.
  std::vector<int64_t> borders = {0, rows};
  for (const SourcePiece& piece : pieces) {
    borders.push_back(piece.rows.begin);
    borders.push_back(piece.rows.end);
  }
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
  if (borders.front() != 0 || borders.back() != rows) return false;
  std::vector<const SourcePiece*> sorted;
  for (const SourcePiece& piece : pieces) sorted.push_back(&piece);
  std::sort(sorted.begin(), sorted.end(), [](const SourcePiece* a, const SourcePiece* b) {
    return a->rows.begin < b->rows.begin;
  });
  std::vector<const SourcePiece*> open;
  size_t next = 0;
  for (size_t i = 0; i + 1 < borders.size(); ++i) {
    std::erase_if(open, [&](const SourcePiece* piece) { return piece->rows.end <= borders[i]; });
    while (next < sorted.size() && sorted[next]->rows.begin == borders[i]) {
      open.push_back(sorted[next++]);
    }
    std::sort(open.begin(), open.end(), [](const SourcePiece* a, const SourcePiece* b) {
      return a->columns.begin < b->columns.begin;
    });
    int64_t column = 0;
    for (const SourcePiece* piece : open) {
      if (piece->columns.begin != column) return false;
      column = piece->columns.end;
    }
    if (column != columns) return false;
  }
  return true;
}

}  // namespace tessera::shard_loader
