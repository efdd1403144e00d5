// Where the numbers of a weight lie: rectangles of it, each an affine map from (row, column) to a
// place in a file. A safetensors weight is one piece without gaps; a transposed one swaps the
// strides; parts that a framework wrote into several files, rows that it interleaved, or a matrix
// that it cut anywhere are several. Pure arithmetic.
#ifndef TESSERA_SHARD_LOADER_LOAD_SOURCE_PIECE_H_
#define TESSERA_SHARD_LOADER_LOAD_SOURCE_PIECE_H_

#include <cstdint>
#include <vector>

#include "shard_loader/format/stored_type.h"
#include "shard_loader/format/tensor_index.h"
#include "shard_loader/plan/lanes.h"
#include "shard_loader/plan/rounding.h"

namespace tessera::shard_loader {

// Of kScaledFp8: number (r, c) of the matrix [matrix_rows, matrix_columns] that the piece is of
// goes with scale (r / rows, c / columns) of a matrix of them.
struct ScalesOfBlocks {
  StoredType type = StoredType::kF32;
  int64_t matrix_rows = 0;
  int64_t matrix_columns = 0;
  int64_t rows = 0;
  int64_t columns = 0;

  int64_t per_row() const { return CeilDiv(matrix_columns, columns); }
  int64_t count() const { return CeilDiv(matrix_rows, rows) * per_row(); }
};

struct SourcePiece {
  int file = 0;
  StoredType type = StoredType::kF32;
  uint64_t offset = 0;        // bytes; of the element at the first row and column
  int64_t row_stride = 0;     // bytes, not negative
  int64_t column_stride = 0;  // bytes; of blocks unused: columns lie one after the other
  Range rows;                 // of the weight; one of a single dimension has [0, 1) columns
  Range columns;
  Codec codec = Codec::kNone;
  ByteRange record;             // with a codec: what is inflated; `offset` counts inside of it
  uint64_t inflated_bytes = 0;  // with a codec
  // Of blocks: each runs down a column, and columns are what lies `column_stride` apart.
  bool blocks_down = false;
  // Of kMxfp4: the scale of the block at `offset` is byte scales_begin + (offset - blocks_begin) /
  // 16 of another file.
  int scales_file = 0;
  uint64_t blocks_begin = 0;
  uint64_t scales_begin = 0;
  // Of kScaledFp8: the matrix lies at blocks_begin, row after row, and its scales at scales_begin.
  ScalesOfBlocks scales;
};

// Whether all dimensions but the last can be counted as one: rows at equal distances.
bool HasFlatRows(const IndexedTensor& tensor);

// A whole tensor with flat rows, as rows and columns from 0 on: its last dimension is the columns,
// those before it together the rows; a single dimension is rows.
SourcePiece PieceOf(int file, const IndexedTensor& tensor);

// A piece for the rows, or columns, `part` of what `piece` covers, counted from its corner; it
// covers rows, or columns, from 0 on. Along blocks it begins with a whole one.
SourcePiece RowsOf(SourcePiece piece, Range part);
SourcePiece ColumnsOf(SourcePiece piece, Range part);
// The same numbers with rows and columns swapped.
SourcePiece Transposed(SourcePiece piece);
// The same numbers at another corner of the weight.
SourcePiece MovedTo(SourcePiece piece, int64_t row, int64_t column);

// Rows that pair element 2i with 2i + 1 of each head, put in the order of halves that RopeSpec
// describes: two pieces a head, at the same corner.
std::vector<SourcePiece> HalvesOfHeads(const SourcePiece& piece, int64_t head_size);

// The elements [first, last) of a row-major matrix of `columns` columns that lie one after the
// other from `offset` on: up to three rectangles.
std::vector<SourcePiece> FlatPieces(const SourcePiece& front, int64_t columns, Range elements);

// What a slice needs of a piece: the common rectangle, in the weight's rows and columns, and the
// reads that fetch it: `count` of `bytes` each, `stride` bytes apart.
struct PieceReads {
  SourcePiece part;
  bool by_column = false;  // one read holds rows of a column, else columns of a row
  uint64_t count = 0;
  uint64_t bytes = 0;
  uint64_t stride = 0;
  int64_t skipped = 0;  // of blocks: leading elements of the first block that are not of the part
  uint64_t total() const {
    if (part.codec != Codec::kNone && count > 0) return part.record.bytes;
    return count * (bytes + (part.type == StoredType::kMxfp4 ? bytes / 16 : 0));
  }
};

PieceReads ReadsOf(const SourcePiece& piece, Range rows, Range columns);

// Whether the pieces cover every element of [rows, columns] once.
bool CoverExactly(const std::vector<SourcePiece>& pieces, int64_t rows, int64_t columns);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_SOURCE_PIECE_H_
