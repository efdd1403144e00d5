#include "shard_loader/load/load_shard.h"

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/io/file.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/plan/slices.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

// Read at a time: between two of these, progress is told and a cancellation noticed.
constexpr uint64_t kPartBytes = 8 << 20;

struct Piece {
  TensorSlice slice;
  const StoredTensor* tensor = nullptr;

  uint64_t element_size() const { return static_cast<uint64_t>(DTypeSize(tensor->dtype)); }
  uint64_t bytes() const { return static_cast<uint64_t>(slice.elements()) * element_size(); }
  uint64_t row_bytes() const {
    return static_cast<uint64_t>(slice.columns.size()) * element_size();
  }
  // Of the slice's row `row` in the file.
  uint64_t offset(int64_t row) const {
    const int64_t stride = tensor->shape.size() > 1 ? tensor->shape[1] : 1;
    const int64_t element = (slice.rows.begin + row) * stride + slice.columns.begin;
    return tensor->offset + static_cast<uint64_t>(element) * element_size();
  }
  // Whether its rows lie one after the other without a gap.
  bool contiguous() const {
    return tensor->shape.size() < 2 || slice.columns.size() == tensor->shape[1];
  }
};

// What a rank reads, in the order of the files.
absl::StatusOr<std::vector<Piece>> MakePieces(const Checkpoint& checkpoint, const RankPlan& plan) {
  std::vector<Piece> pieces;
  for (TensorSlice& slice : RankSlices(checkpoint.spec(), plan)) {
    const StoredTensor* tensor = checkpoint.Find(slice.source);
    if (tensor == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat("shard_loader: the plan asks for ",
                                                        TensorName(slice.source),
                                                        ", which this checkpoint does not have"));
    }
    if (slice.rows.end > tensor->shape[0] ||
        (tensor->shape.size() > 1 && slice.columns.end > tensor->shape[1])) {
      return absl::FailedPreconditionError(
          absl::StrCat("shard_loader: the plan's slice of ", tensor->name, " lies outside of it"));
    }
    pieces.push_back({std::move(slice), tensor});
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return std::tuple(a.tensor->file, a.offset(0)) < std::tuple(b.tensor->file, b.offset(0));
  });
  return pieces;
}

// One load. Lives on the stack of LoadShard.
class ShardReader {
 public:
  ShardReader(const Checkpoint& checkpoint, const LoadProgress& progress,
              const std::atomic<bool>* cancel, uint64_t total)
      : checkpoint_(checkpoint), progress_(progress), cancel_(cancel) {
    stats_.bytes_total = total;
  }

  // The bytes of `piece`, valid until the next call.
  absl::StatusOr<absl::Span<const std::byte>> Read(const Piece& piece) {
    RETURN_IF_ERROR(OpenFile(piece.tensor->file));
    buffer_.resize(piece.bytes());
    if (piece.contiguous()) {
      RETURN_IF_ERROR(ReadStretch(piece.offset(0), absl::MakeSpan(buffer_)));
    } else {
      for (int64_t row = 0; row < piece.slice.rows.size(); ++row) {
        const auto part = absl::MakeSpan(buffer_).subspan(
            static_cast<uint64_t>(row) * piece.row_bytes(), piece.row_bytes());
        RETURN_IF_ERROR(ReadStretch(piece.offset(row), part));
      }
    }
    if (progress_) progress_(stats_.bytes_read, stats_.bytes_total);
    return absl::MakeConstSpan(buffer_);
  }

  const LoadStats& stats() const { return stats_; }

 private:
  absl::Status OpenFile(int index) {
    if (file_ != nullptr && index == file_index_) return absl::OkStatus();
    const CheckpointFile& info = checkpoint_.files()[index];
    ASSIGN_OR_RETURN(File file, File::Open(checkpoint_.folder() / info.name));
    if (file.size() != info.size) {
      return absl::DataLossError(
          absl::StrCat("shard_loader: ", info.name, ": has ", file.size(), " bytes, had ",
                       info.size, " when the checkpoint was opened; it changed meanwhile"));
    }
    file_ = std::make_unique<File>(std::move(file));
    file_index_ = index;
    return absl::OkStatus();
  }

  absl::Status ReadStretch(uint64_t offset, absl::Span<std::byte> bytes) {
    while (!bytes.empty()) {
      if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed)) {
        return absl::CancelledError(absl::StrCat("shard_loader: loading was cancelled at byte ",
                                                 stats_.bytes_read, " of ", stats_.bytes_total));
      }
      const absl::Span<std::byte> part = bytes.subspan(0, kPartBytes);
      const uint64_t before = file_->bytes_read();
      RETURN_IF_ERROR(file_->ReadAt(offset, part));
      stats_.bytes_read += file_->bytes_read() - before;
      if (progress_ && part.size() == kPartBytes) {
        progress_(stats_.bytes_read, stats_.bytes_total);
      }
      offset += part.size();
      bytes.remove_prefix(part.size());
    }
    return absl::OkStatus();
  }

  const Checkpoint& checkpoint_;
  const LoadProgress& progress_;
  const std::atomic<bool>* cancel_;
  std::unique_ptr<File> file_;
  int file_index_ = -1;
  std::vector<std::byte> buffer_;
  LoadStats stats_;
};

}  // namespace

absl::StatusOr<LoadStats> LoadShard(const Checkpoint& checkpoint, const RankPlan& plan,
                                    const TensorConsumer& consume, const LoadProgress& progress,
                                    const std::atomic<bool>* cancel) {
  ASSIGN_OR_RETURN(const std::vector<Piece> pieces, MakePieces(checkpoint, plan));
  uint64_t total = 0;
  for (const Piece& piece : pieces) total += piece.bytes();
  ShardReader reader(checkpoint, progress, cancel, total);
  for (const Piece& piece : pieces) {
    ASSIGN_OR_RETURN(const absl::Span<const std::byte> bytes, reader.Read(piece));
    RETURN_IF_ERROR(consume({piece.slice.id, piece.tensor->dtype, piece.slice.shape, bytes}));
  }
  return reader.stats();
}

absl::StatusOr<uint64_t> ShardBytes(const Checkpoint& checkpoint, const RankPlan& plan) {
  ASSIGN_OR_RETURN(const std::vector<Piece> pieces, MakePieces(checkpoint, plan));
  uint64_t total = 0;
  for (const Piece& piece : pieces) total += piece.bytes();
  return total;
}

}  // namespace tessera::shard_loader
