// The decoder: any model that a DecoderSpec describes, over the layers and lanes of one rank.
#ifndef TESSERA_WORKER_MODEL_DECODER_H_
#define TESSERA_WORKER_MODEL_DECODER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/rank_plan.h"
#include "worker/backend/backend.h"
#include "worker/comm/group_comms.h"
#include "worker/model/kv_cache.h"
#include "worker/model/rope.h"
#include "worker/model/weights.h"
#include "worker/model/workspace.h"

namespace tessera::worker {

// The tokens of a step: the same on every rank of the group.
struct Batch {
  uint64_t step = 0;              // tags the messages between stages
  const uint32_t* ids = nullptr;  // [rows.num_rows]
  RowTable rows;
};

class ResidualTrace;

// What a forward pass changes. All borrowed; all of one rank.
struct ForwardState {
  Backend* backend = nullptr;
  KvCache* cache = nullptr;
  Workspace* workspace = nullptr;
  const GroupComms* comms = nullptr;
  std::atomic<uint64_t>* layers_done = nullptr;  // goes up by one with every layer
  ResidualTrace* trace = nullptr;                // or null
};

// Immutable; Forward may run on several threads with a state for each.
class Decoder {
 public:
  Decoder(const shard_loader::DecoderSpec& spec, const shard_loader::RankPlan& plan,
          std::unique_ptr<const Weights> weights);

  // Runs the rank's layers over the batch: takes the hidden states from the embedding, or from the
  // stage before, and leaves them in the workspace's residual, or hands them to the stage after.
  // Keys and values of all rows are in the cache afterwards. Errors are those of the communicators.
  absl::Status Forward(const Batch& batch, const ForwardState& state) const;

  // After Forward on the last stage: logits of rows `rows` of the batch, at most logit_rows of
  // them. On tp_index 0 the workspace's `logits` then holds [rows, vocab]; other ranks only
  // contribute.
  absl::Status Logits(absl::Span<const int32_t> rows, const ForwardState& state) const;

 private:
  // A sum over a sharded dimension: the rank's part of it, and how the ranks' parts meet.
  struct ShardedSum {
    SumOrder order;
    shard_loader::LaneTree tree;
    std::vector<shard_loader::Range> lanes_by_rank;
  };
  struct RowParallel {
    const PackedMatrix& weights;
    const float* bias;  // or null
    const ShardedSum& sum;
  };

  absl::Status Embed(const Batch& batch, const ForwardState& state) const;
  absl::Status EmbedSharded(const Batch& batch, const ForwardState& state) const;
  absl::Status Attention(int64_t layer, const Batch& batch, const ForwardState& state) const;
  absl::Status Mlp(int64_t layer, int64_t num_rows, const ForwardState& state) const;
  void QueryKeyValue(const LayerWeights& weights, int64_t num_rows,
                     const ForwardState& state) const;
  // residual += input x weights, summed over the lanes of all ranks, + bias.
  absl::Status AddRowParallel(const float* input, int64_t num_rows, const RowParallel& product,
                              const ForwardState& state) const;
  absl::Status GatherLogits(int64_t num_rows, const ForwardState& state) const;

  const shard_loader::DecoderSpec spec_;
  const shard_loader::RankPlan plan_;
  const std::unique_ptr<const Weights> weights_;
  const Rope rope_;
  std::vector<int32_t> kv_head_of_;  // of each own query head, among the own KV heads
  const ShardedSum attention_sum_;
  const ShardedSum mlp_sum_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_DECODER_H_
