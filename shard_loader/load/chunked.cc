#include "shard_loader/load/chunked.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/decompress.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 46;

absl::Status Corrupt(const ChunkedTensor& tensor, const std::string& file, std::string_view what) {
  return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": tensor '",
                                          Excerpt(tensor.name), "': ", std::string(what),
                                          "; the checkpoint is corrupt"));
}

// Rows and columns of a shape: all dimensions but the last together, and the last.
struct Flat {
  int64_t rows = 1;
  int64_t columns = 1;
};

Flat Flatten(const std::vector<int64_t>& shape) {
  Flat flat;
  for (size_t i = 0; i < shape.size(); ++i) {
    (i == 0 || i + 1 < shape.size() ? flat.rows : flat.columns) *= shape[i];
  }
  return flat;
}

// Whether the rows of a chunk lie one after the other in the tensor too.
bool HasWholeRows(const ChunkedTensor& tensor) {
  for (size_t i = 1; i + 1 < tensor.shape.size(); ++i) {
    if (tensor.chunk_shape[i] != tensor.shape[i]) return false;
  }
  return tensor.shape.size() <= 2 || !tensor.column_major;
}

bool IsInside(const ChunkedTensor& tensor, const StoredChunk& chunk) {
  if (chunk.origin.size() != tensor.shape.size()) return false;
  for (size_t i = 0; i < chunk.origin.size(); ++i) {
    if (chunk.origin[i] < 0 || chunk.origin[i] >= tensor.shape[i]) return false;
  }
  return true;
}

SourcePiece PieceOfChunk(const ChunkedTensor& tensor, const StoredChunk& chunk, uint64_t bytes) {
  const int64_t size = BlockOf(tensor.type).bytes;
  const Flat whole = Flatten(tensor.shape);
  const Flat part = Flatten(tensor.chunk_shape);
  SourcePiece piece{.file = chunk.file, .type = tensor.type, .offset = chunk.data.offset};
  piece.row_stride = tensor.column_major ? size : part.columns * size;
  piece.column_stride = tensor.column_major ? part.rows * size : size;
  if (tensor.codec != Codec::kNone) {
    piece.codec = tensor.codec;
    piece.record = chunk.data;
    piece.inflated_bytes = bytes;
    piece.offset = 0;
  }
  const size_t dimensions = tensor.shape.size();
  int64_t row = dimensions > 0 ? chunk.origin[0] : 0;
  for (size_t i = 1; i + 1 < dimensions; ++i) row *= tensor.shape[i];
  const int64_t column = dimensions > 1 ? chunk.origin.back() : 0;
  piece.rows = {row, std::min(row + part.rows, whole.rows)};
  piece.columns = {column, std::min(column + part.columns, whole.columns)};
  return piece;
}

}  // namespace

absl::StatusOr<uint64_t> ChunkBytes(const ChunkedTensor& tensor, uint64_t most,
                                    const std::string& file) {
  int64_t elements = 0;
  int64_t all = 0;
  const bool is_shape = tensor.shape.size() <= kMaxDimensions &&
                        tensor.shape.size() == tensor.chunk_shape.size() &&
                        CountElements(tensor.shape, kMostElements, &all) &&
                        CountElements(tensor.chunk_shape, kMostElements, &elements) && elements > 0;
  if (!is_shape) return Corrupt(tensor, file, "its shape and that of its chunks are impossible");
  const auto bytes = static_cast<uint64_t>(elements * BlockOf(tensor.type).bytes);
  if (!MayInflateTo(most, bytes)) {
    return Corrupt(tensor, file,
                   absl::StrCat("a chunk of ", bytes, " bytes cannot come of ", most, " bytes"));
  }
  return bytes;
}

absl::StatusOr<FoundTensor> FromChunks(ChunkedTensor tensor, const std::string& file) {
  FoundTensor found{.name = tensor.name, .type = tensor.type, .shape = tensor.shape};
  for (const StoredChunk& chunk : tensor.chunks) {
    ASSIGN_OR_RETURN(const uint64_t bytes, ChunkBytes(tensor, chunk.data.bytes, file));
    if (!IsInside(tensor, chunk)) return Corrupt(tensor, file, "a chunk lies outside of it");
    if (tensor.codec == Codec::kNone && chunk.data.bytes != bytes) {
      return Corrupt(tensor, file,
                     absl::StrCat("a chunk has ", chunk.data.bytes, " bytes, expected ", bytes));
    }
    if (HasWholeRows(tensor)) found.pieces.push_back(PieceOfChunk(tensor, chunk, bytes));
  }
  return found;
}

}  // namespace tessera::shard_loader
