// Reads parts of weights from the files of a checkpoint, through whatever lies between: strides,
// transposition, quantised blocks, compressed records, other number formats.
#ifndef TESSERA_SHARD_LOADER_LOAD_PIECE_READER_H_
#define TESSERA_SHARD_LOADER_LOAD_PIECE_READER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "shard_loader/io/file.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/load/read_ahead.h"
#include "shard_loader/load/source_piece.h"
#include "shard_loader/model/dtype.h"

namespace tessera::shard_loader {

// A rectangle of a weight, compact and row-major in memory.
struct PieceTarget {
  DType dtype = DType::kF32;
  Range rows;
  Range columns;
  absl::Span<std::byte> bytes;
};

// The same as integers, row-major, and for each row the scales and minima of the blocks that it has
// a part of.
struct CodedTarget {
  Range rows;
  Range columns;
  int64_t groups = 0;  // blocks of a row
  absl::Span<int8_t> codes;
  absl::Span<uint16_t> scales;
  absl::Span<float> minima;
};

// Keeps the files open that it has read from. Thread-compatible; one load.
class PieceReader {
 public:
  // Called before each read of at most 8 MB with the bytes that were read so far; an error ends the
  // load.
  using Progress = std::function<absl::Status(uint64_t bytes_read)>;

  // Borrows the checkpoint.
  PieceReader(const Checkpoint& checkpoint, Progress progress);

  // What lies in these bytes is copied from there, and counts as read; until the next call.
  void TakeFrom(const FetchedBytes& fetched) { fetched_ = fetched; }

  // Writes what `piece` has of the target.
  absl::Status Read(const SourcePiece& piece, const PieceTarget& target);

  // Likewise, of blocks of HasCodes that begin at multiples of their elements.
  absl::Status ReadCodes(const SourcePiece& piece, const CodedTarget& target);

  uint64_t bytes_read() const { return bytes_read_; }

 private:
  absl::StatusOr<File*> Open(int index);
  absl::Status Fetch(const SourcePiece& part, uint64_t offset, absl::Span<std::byte> bytes);
  absl::Status ReadFile(int file, uint64_t offset, absl::Span<std::byte> bytes);
  absl::Status Inflate(const SourcePiece& part);
  absl::Status ReadDirect(const PieceReads& reads, const PieceTarget& target);
  absl::Status FetchScales(const PieceReads& reads, uint64_t first, uint64_t count);
  // All scales of a matrix in kScaledFp8, unless they are there.
  absl::Status FetchTable(const SourcePiece& part);
  float Scaled(const SourcePiece& part, uint64_t offset, std::byte number) const;
  absl::Status ReadScattered(const PieceReads& reads, const PieceTarget& target);
  void ScatterCodes(const PieceReads& reads, uint64_t first, uint64_t count,
                    const CodedTarget& target);
  template <typename Sink>
  absl::Status ReadBatches(const PieceReads& reads, Sink sink);
  void Scatter(const PieceReads& reads, uint64_t first, uint64_t count, const PieceTarget& target);

  const Checkpoint& checkpoint_;
  Progress progress_;
  std::map<int, File> files_;
  FetchedBytes fetched_;
  std::vector<std::byte> buffer_;
  std::vector<std::byte> scales_;  // of the blocks in buffer_
  std::vector<float> table_;       // of the matrix in kScaledFp8 that was read last
  int table_file_ = -1;            // where it was read
  uint64_t table_begin_ = 0;       // likewise
  std::vector<float> values_;
  std::vector<int8_t> codes_;
  std::vector<uint16_t> code_scales_;
  std::vector<std::byte> inflated_;  // of the record of the piece that is read
  uint64_t bytes_read_ = 0;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_PIECE_READER_H_
