#include "shard_loader/load/load_shard.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/load/piece_reader.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/plan/slices.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

// Progress is told at least this often inside of a large slice.
constexpr uint64_t kTellBytes = 8 << 20;

// A slice of the rank and the weight that it is of.
struct Wanted {
  TensorSlice slice;
  const StoredTensor* tensor = nullptr;

  // What is read of the files for it.
  uint64_t bytes() const {
    uint64_t total = 0;
    for (const SourcePiece& piece : tensor->pieces) {
      total += ReadsOf(piece, slice.rows, slice.columns).total();
    }
    return total;
  }
};

// What a rank reads, in the order of the files.
absl::StatusOr<std::vector<Wanted>> ListWanted(const Checkpoint& checkpoint, const RankPlan& plan) {
  std::vector<Wanted> wanted;
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
    wanted.push_back({std::move(slice), tensor});
  }
  std::stable_sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) {
    return std::tuple(a.tensor->file, a.tensor->offset) <
           std::tuple(b.tensor->file, b.tensor->offset);
  });
  return wanted;
}

uint64_t TotalBytes(const std::vector<Wanted>& wanted) {
  uint64_t total = 0;
  for (const Wanted& one : wanted) total += one.bytes();
  return total;
}

}  // namespace

absl::StatusOr<LoadStats> LoadShard(const Checkpoint& checkpoint, const RankPlan& plan,
                                    const TensorConsumer& consume, const LoadProgress& progress,
                                    const std::atomic<bool>* cancel) {
  ASSIGN_OR_RETURN(const std::vector<Wanted> wanted, ListWanted(checkpoint, plan));
  LoadStats stats{.bytes_total = TotalBytes(wanted)};
  uint64_t told = 0;
  PieceReader reader(checkpoint, [&](uint64_t bytes_read) -> absl::Status {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
      return absl::CancelledError(absl::StrCat("shard_loader: loading was cancelled at byte ",
                                               bytes_read, " of ", stats.bytes_total));
    }
    if (progress && bytes_read - told >= kTellBytes) {
      told = bytes_read;
      progress(told, stats.bytes_total);
    }
    return absl::OkStatus();
  });
  std::vector<std::byte> buffer;
  for (const Wanted& one : wanted) {
    buffer.resize(static_cast<uint64_t>(one.slice.elements() * DTypeSize(one.tensor->dtype)));
    const PieceTarget target{one.tensor->dtype, one.slice.rows, one.slice.columns,
                             absl::MakeSpan(buffer)};
    for (const SourcePiece& piece : one.tensor->pieces) {
      RETURN_IF_ERROR(reader.Read(piece, target));
    }
    told = reader.bytes_read();
    if (progress) progress(told, stats.bytes_total);
    RETURN_IF_ERROR(consume({one.slice.id, one.tensor->dtype, one.slice.shape, buffer}));
  }
  stats.bytes_read = reader.bytes_read();
  return stats;
}

absl::StatusOr<uint64_t> ShardBytes(const Checkpoint& checkpoint, const RankPlan& plan) {
  ASSIGN_OR_RETURN(const std::vector<Wanted> wanted, ListWanted(checkpoint, plan));
  return TotalBytes(wanted);
}

}  // namespace tessera::shard_loader
