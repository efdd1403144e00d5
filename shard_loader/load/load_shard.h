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

// The rank's slice of one weight as stored: compact, row-major, little-endian. `shape` is that of
// the slice. Valid during the call that it is handed to.
struct HostTensor {
  TensorId id;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  absl::Span<const std::byte> bytes;
};

struct LoadStats {
  uint64_t bytes_read = 0;   // asked of the files, and got
  uint64_t bytes_total = 0;  // what the plan says; equal after a whole load
};

using TensorConsumer = std::function<absl::Status(const HostTensor&)>;
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

// Hands every slice of plan/slices.h to `consume`, in the order in which they lie in the files, and
// calls `progress` (may be null) at least once for each. One slice is in memory at a time, and no
// more than one system call's part is read beyond a set `cancel` (may be null): CANCELLED.
// With tied embeddings the last stage gets the embedding's rows as kHead; a rank that is both first
// and last stage reads and gets them once, as kEmbedding.
// Runs on the caller's thread. The first error of `consume` ends it and is returned as it is.
absl::StatusOr<LoadStats> LoadShard(const Checkpoint& checkpoint, const RankPlan& plan,
                                    const TensorConsumer& consume,
                                    const LoadProgress& progress = nullptr,
                                    const std::atomic<bool>* cancel = nullptr);

// What LoadShard will read for this rank, from the headers alone.
absl::StatusOr<uint64_t> ShardBytes(const Checkpoint& checkpoint, const RankPlan& plan);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_LOAD_SHARD_H_
