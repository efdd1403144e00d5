// Reads a rank's slices of a checkpoint: these bytes and no others.
#ifndef TESSERA_SHARD_LOADER_LOAD_LOAD_SHARD_H_
#define TESSERA_SHARD_LOADER_LOAD_LOAD_SHARD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/plan/rank_plan.h"

namespace tessera::shard_loader {

// A slice's blocks of integers as the checkpoint has them: an element is code * scale + minimum.
struct CodedRows {
  int64_t groups = 0;                 // blocks of which a row has a part
  absl::Span<const int8_t> codes;     // [rows, columns]
  absl::Span<const uint16_t> scales;  // [rows, groups], bits of halves
  absl::Span<const float> minima;     // [rows, groups]
};

// The rank's slice of one weight, or some rows of it, as stored: compact, row-major, little-endian.
// `shape` is that of the slice. Valid during the call that it is handed to.
struct HostTensor {
  TensorId id;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  Range rows;                         // of the slice: those in `bytes`; of a vector its elements
  absl::Span<const std::byte> bytes;  // none where there are codes
  const CodedRows* coded = nullptr;
};

struct LoadStats {
  uint64_t bytes_read = 0;   // asked of the files, and got
  uint64_t bytes_total = 0;  // what the plan says; equal after a whole load
};

using TensorConsumer = std::function<absl::Status(const HostTensor&)>;
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

struct LoadOptions {
  int threads = 1;          // that read and hand out; the caller's is one of them
  uint64_t part_bytes = 0;  // larger slices come in parts of some multiple of 16 rows; 0: whole
  // Whether the weight, blocks of this type, is handed out as integers; null: all as numbers.
  std::function<bool(TensorId, StoredType)> keep_codes = nullptr;
  LoadProgress progress = nullptr;            // called on the caller's thread
  const std::atomic<bool>* cancel = nullptr;  // borrowed; may be set from any thread
};

// Hands every slice of plan/slices.h to `consume`, which is called from as many threads as there
// are; one more fetches what comes next (read_ahead.h), up to 24 MiB. One thread goes in the order
// in which they lie in the files. Each has one part in memory at a time. `progress` is called at
// least once for each that the caller's thread hands out, and at the end; of each thread no more
// than one system call's part is read beyond a set `cancel`: CANCELLED. What comes from a
// compressed record is handed out whole, so that it is inflated once. With tied embeddings the last
// stage gets the embedding's rows as kHead; a rank that is both first and last stage reads and gets
// them once, as kEmbedding. The first error of `consume` ends it and is returned as it is.
absl::StatusOr<LoadStats> LoadShard(const Checkpoint& checkpoint, const RankPlan& plan,
                                    const TensorConsumer& consume, const LoadOptions& options);
// The same on the caller's thread alone, slices whole.
absl::StatusOr<LoadStats> LoadShard(const Checkpoint& checkpoint, const RankPlan& plan,
                                    const TensorConsumer& consume,
                                    const LoadProgress& progress = nullptr,
                                    const std::atomic<bool>* cancel = nullptr);

// What LoadShard will read for this rank, from the headers alone; in parts, blocks that two parts
// share are read by both.
absl::StatusOr<uint64_t> ShardBytes(const Checkpoint& checkpoint, const RankPlan& plan);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_LOAD_SHARD_H_
