#include "shard_loader/load/load_shard.h"

#include <algorithm>
#include <map>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/load/block_format.h"
#include "shard_loader/load/piece_reader.h"
#include "shard_loader/load/read_ahead.h"
#include "shard_loader/load/stretches.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/mutex.h"
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
  bool shared = false;  // some of it is another rank's too

  // What is read of the files for it.
  uint64_t bytes() const {
    uint64_t total = 0;
    for (const SourcePiece& piece : tensor->pieces) {
      total += ReadsOf(piece, slice.rows, slice.columns).total();
    }
    return total;
  }
};

bool Meet(Range a, Range b) { return a.begin < b.end && b.begin < a.end; }

// Marks the slices of which another rank holds a part: repeated KV heads, whole weights, tied
// embeddings.
absl::Status MarkShared(const Checkpoint& checkpoint, const RankPlan& plan,
                        std::vector<Wanted>& wanted) {
  std::map<TensorId, std::vector<Wanted*>> by_source;
  for (Wanted& one : wanted) by_source[one.slice.source].push_back(&one);
  ASSIGN_OR_RETURN(const std::vector<RankPlan> plans,
                   MakeRankPlans(checkpoint.spec(), plan.layout));
  for (const RankPlan& other : plans) {
    if (other.rank == plan.rank) continue;
    for (const TensorSlice& slice : RankSlices(checkpoint.spec(), other)) {
      const auto found = by_source.find(slice.source);
      if (found == by_source.end()) continue;
      for (Wanted* const mine : found->second) {
        mine->shared = mine->shared || (Meet(mine->slice.rows, slice.rows) &&
                                        Meet(mine->slice.columns, slice.columns));
      }
    }
  }
  return absl::OkStatus();
}

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

// Rows of a slice that are read and handed out together.
struct Part {
  const Wanted* wanted = nullptr;
  Range rows;          // of the slice
  size_t stretch = 0;  // with which it is fetched

  // The same rows of the weight.
  Range source_rows() const {
    const int64_t first = wanted->slice.rows.begin;
    return {first + rows.begin, first + rows.end};
  }
};

std::vector<Part> CutIntoParts(const std::vector<Wanted>& wanted, uint64_t part_bytes) {
  constexpr int64_t kRows = 16;
  std::vector<Part> parts;
  for (const Wanted& one : wanted) {
    const int64_t rows = one.slice.rows.size();
    const int64_t row_bytes =
        std::max<int64_t>(1, one.slice.columns.size() * DTypeSize(one.tensor->dtype));
    const bool compressed =
        std::any_of(one.tensor->pieces.begin(), one.tensor->pieces.end(),
                    [](const SourcePiece& piece) { return piece.codec != Codec::kNone; });
    int64_t step = std::max<int64_t>(1, rows);
    if (part_bytes > 0 && !compressed) {
      const auto most = static_cast<int64_t>(part_bytes / static_cast<uint64_t>(row_bytes));
      step = std::max(kRows, most / kRows * kRows);
    }
    for (int64_t row = 0; row < rows; row += step) {
      parts.push_back({&one, {row, std::min(row + step, rows)}});
    }
  }
  return parts;
}

// What is fetched together, and which parts that is.
std::vector<Stretch> JoinParts(std::vector<Part>& parts) {
  std::vector<Stretch> stretches;
  for (Part& part : parts) {
    PartReads reads{.shared = part.wanted->shared};
    for (const SourcePiece& piece : part.wanted->tensor->pieces) {
      reads.pieces.push_back(ReadsOf(piece, part.source_rows(), part.wanted->slice.columns));
    }
    AddPart(reads, ReadAhead::kMostBytes, stretches);
    part.stretch = stretches.size() - 1;
  }
  return stretches;
}

// What a thread reads into, part after part.
struct Buffers {
  std::vector<std::byte> bytes;
  std::vector<int8_t> codes;
  std::vector<uint16_t> scales;
  std::vector<float> minima;
};

// Threads take part after part until there is none left, or one of them fails.
class Loader {
 public:
  Loader(const Checkpoint& checkpoint, std::vector<Part> parts, uint64_t total,
         const TensorConsumer& consume, const LoadOptions& options)
      : checkpoint_(checkpoint),
        parts_(std::move(parts)),
        total_(total),
        consume_(consume),
        options_(options),
        ahead_(checkpoint, JoinParts(parts_), [this] { return Cancelled(); }) {}

  absl::StatusOr<uint64_t> Run() {
    std::vector<std::thread> helpers;
    for (int i = 1; i < options_.threads; ++i) helpers.emplace_back([this] { Work(false); });
    Work(true);
    for (std::thread& helper : helpers) helper.join();
    MutexLock lock(mutex_);
    RETURN_IF_ERROR(status_);
    const uint64_t bytes = bytes_read_.load();
    if (options_.progress && bytes > told_) options_.progress(bytes, total_);
    return bytes;
  }

 private:
  void Work(bool tells) {
    const absl::Status status = TakeParts(tells);
    if (status.ok()) return;
    {
      MutexLock lock(mutex_);
      if (status_.ok()) status_ = status;
    }
    failed_.store(true);  // after the reason is there: others end with a poorer one
    ahead_.Stop();
  }

  bool Cancelled() const {
    return options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed);
  }

  absl::Status TakeParts(bool tells) {
    uint64_t counted = 0;
    const auto count = [&](uint64_t bytes_read) {
      bytes_read_.fetch_add(bytes_read - counted, std::memory_order_relaxed);
      counted = bytes_read;
    };
    PieceReader reader(checkpoint_, [&](uint64_t bytes_read) -> absl::Status {
      count(bytes_read);
      const uint64_t done = bytes_read_.load(std::memory_order_relaxed);
      if (Cancelled()) {
        return absl::CancelledError(
            absl::StrCat("shard_loader: loading was cancelled at byte ", done, " of ", total_));
      }
      if (failed_.load(std::memory_order_relaxed)) {
        return absl::CancelledError("shard_loader: another thread's part has failed");
      }
      if (tells && options_.progress && done - told_ >= kTellBytes) {
        told_ = done;
        options_.progress(done, total_);
      }
      return absl::OkStatus();
    });
    Buffers buffers;
    for (size_t i = next_.fetch_add(1); i < parts_.size(); i = next_.fetch_add(1)) {
      if (failed_.load(std::memory_order_relaxed)) return absl::OkStatus();
      reader.TakeFrom(ahead_.Take(parts_[i].stretch));
      RETURN_IF_ERROR(HandOut(parts_[i], reader, &buffers, count));
      ahead_.GiveBack(parts_[i].stretch);
      if (tells && options_.progress) {
        told_ = bytes_read_.load(std::memory_order_relaxed);
        options_.progress(told_, total_);
      }
    }
    return absl::OkStatus();
  }

  template <typename Count>
  absl::Status HandOut(const Part& part, PieceReader& reader, Buffers* buffers, Count count) {
    const TensorSlice& slice = part.wanted->slice;
    const StoredTensor& tensor = *part.wanted->tensor;
    if (options_.keep_codes && IsCoded(tensor) && options_.keep_codes(slice.id, tensor.stored)) {
      return HandOutCodes(part, reader, buffers, count);
    }
    buffers->bytes.resize(
        static_cast<uint64_t>(part.rows.size() * slice.columns.size() * DTypeSize(tensor.dtype)));
    const PieceTarget target{tensor.dtype, part.source_rows(), slice.columns,
                             absl::MakeSpan(buffers->bytes)};
    for (const SourcePiece& piece : tensor.pieces) RETURN_IF_ERROR(reader.Read(piece, target));
    count(reader.bytes_read());
    return consume_({slice.id, tensor.dtype, slice.shape, part.rows, buffers->bytes});
  }

  template <typename Count>
  absl::Status HandOutCodes(const Part& part, PieceReader& reader, Buffers* buffers, Count count) {
    const TensorSlice& slice = part.wanted->slice;
    const StoredTensor& tensor = *part.wanted->tensor;
    const int64_t elements = BlockOf(tensor.stored).elements;
    const Range& columns = slice.columns;
    const int64_t groups = (columns.end + elements - 1) / elements - columns.begin / elements;
    buffers->codes.resize(static_cast<size_t>(part.rows.size() * columns.size()));
    buffers->scales.resize(static_cast<size_t>(part.rows.size() * groups));
    buffers->minima.resize(buffers->scales.size());
    const CodedTarget target{part.source_rows(),
                             columns,
                             groups,
                             absl::MakeSpan(buffers->codes),
                             absl::MakeSpan(buffers->scales),
                             absl::MakeSpan(buffers->minima)};
    for (const SourcePiece& piece : tensor.pieces) RETURN_IF_ERROR(reader.ReadCodes(piece, target));
    count(reader.bytes_read());
    const CodedRows coded{groups, buffers->codes, buffers->scales, buffers->minima};
    HostTensor tensor_rows{slice.id, tensor.dtype, slice.shape, part.rows, {}};
    tensor_rows.coded = &coded;
    return consume_(tensor_rows);
  }

  const Checkpoint& checkpoint_;
  std::vector<Part> parts_;
  const uint64_t total_;
  const TensorConsumer& consume_;
  const LoadOptions& options_;
  std::atomic<size_t> next_{0};
  std::atomic<uint64_t> bytes_read_{0};
  std::atomic<bool> failed_{false};
  uint64_t told_ = 0;  // the caller's thread alone
  Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  ReadAhead ahead_;
};

}  // namespace

absl::StatusOr<LoadStats> LoadShard(const Checkpoint& checkpoint, const RankPlan& plan,
                                    const TensorConsumer& consume, const LoadOptions& options) {
  ASSIGN_OR_RETURN(std::vector<Wanted> wanted, ListWanted(checkpoint, plan));
  RETURN_IF_ERROR(MarkShared(checkpoint, plan, wanted));
  LoadStats stats{.bytes_total = TotalBytes(wanted)};
  ASSIGN_OR_RETURN(stats.bytes_read, Loader(checkpoint, CutIntoParts(wanted, options.part_bytes),
                                            stats.bytes_total, consume, options)
                                         .Run());
  return stats;
}

absl::StatusOr<LoadStats> LoadShard(const Checkpoint& checkpoint, const RankPlan& plan,
                                    const TensorConsumer& consume, const LoadProgress& progress,
                                    const std::atomic<bool>* cancel) {
  return LoadShard(checkpoint, plan, consume, {.progress = progress, .cancel = cancel});
}

absl::StatusOr<uint64_t> ShardBytes(const Checkpoint& checkpoint, const RankPlan& plan) {
  ASSIGN_OR_RETURN(const std::vector<Wanted> wanted, ListWanted(checkpoint, plan));
  return TotalBytes(wanted);
}

}  // namespace tessera::shard_loader
