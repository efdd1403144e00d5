// How much memory every rank takes, to the byte, before a weight is read; how many KV blocks fit
// beside it; and a refusal that says what to change. Pure arithmetic: io/host_memory.h measures.
#ifndef TESSERA_SHARD_LOADER_PLAN_MEMORY_H_
#define TESSERA_SHARD_LOADER_PLAN_MEMORY_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/kv_format.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/weight_format.h"
#include "shard_loader/plan/workspace.h"

namespace tessera::shard_loader {

struct MemoryOptions {
  WeightFormat weight_dtype;  // as held, not as stored
  KvFormat kv_dtype;
  StepLimits limits{2048, 64};
  int64_t max_model_len = 0;  // tokens of the longest sequence; 0: the model's context length
  int64_t num_kv_blocks = 0;  // 0: as many as fit, up to those that max_num_seqs sequences can use
  int64_t available_bytes = 0;     // of the memory that `ranks_share_memory` speaks of
  bool ranks_share_memory = true;  // one host for all ranks; else each rank has as much for itself
  bool on_device = false;          // the memory is a device's: what its kernels need counts too
  DType stored_dtype = DType::kF32;  // of the checkpoint; decides `staging`
  // A smaller model that guesses, whole on the first rank of the last stage; null: none. Borrowed.
  const DecoderSpec* draft = nullptr;
  // For the contents of evicted KV blocks, of each rank: of the host's memory, or of a file; 0:
  // none.
  int64_t offload_bytes = 0;
  bool offload_to_file = false;
};

struct RankMemory {
  int rank = 0;
  int64_t weights = 0;    // the packed image
  int64_t workspace = 0;  // of a step within the limits, and a device's scratch memory
  int64_t process = 0;    // program, stacks, buffers of the transport: kProcessBytes
  bool on_device = false;
  int64_t draft = 0;         // weights and workspace of the draft model
  int64_t kv_per_block = 0;  // 16 tokens in all layers of the rank, and in those of the draft
  int64_t kv = 0;            // of all blocks
  int64_t slots = 0;         // of all slots for evicted blocks, in memory or in a file
  // What they take of the host's memory: all, or a block on its way to or from the file. No part of
  // a device's memory.
  int64_t offload = 0;
  int64_t staging = 0;  // the largest slice as stored: held while it is packed, then let go

  // What it takes without KV cache, of the memory that it computes in.
  int64_t fixed() const {
    return weights + workspace + draft + process + (on_device ? 0 : offload);
  }
  int64_t total() const { return fixed() + kv; }
  // What it takes while weights are read, when neither workspace nor cache has been touched.
  int64_t loading() const { return weights + process + staging; }
};

// An allowance for what a rank's process takes beside the model.
inline constexpr int64_t kProcessBytes = int64_t{48} << 20;

// The server keeps about 100 bytes for each slot.
inline constexpr int64_t kMostKvSlots = int64_t{1} << 24;

struct MemoryPlan {
  std::vector<RankMemory> ranks;
  int64_t max_model_len = 0;
  int64_t num_kv_blocks = 0;  // the same on every rank
  int64_t num_kv_slots = 0;   // for evicted blocks; likewise
  // Of one memory with these blocks, while loading or while serving, whichever is more: the sum
  // over the ranks, or that of the worst one.
  int64_t needed_bytes = 0;
  int64_t available_bytes = 0;
  // FAILED_PRECONDITION where it cannot fit: "needs X, has Y; use ...".
  absl::Status fits;
};

// `plans`: all ranks of the group, as MakeRankPlans gives them.
MemoryPlan PlanMemory(const DecoderSpec& spec, absl::Span<const RankPlan> plans,
                      const MemoryOptions& options);

// "1.50 GiB", "640 B".
std::string FormatBytes(int64_t bytes);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_MEMORY_H_
