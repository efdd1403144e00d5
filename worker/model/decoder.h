// The decoder: any model that a DecoderSpec describes, over the layers and lanes of one rank.
#ifndef TESSERA_WORKER_MODEL_DECODER_H_
#define TESSERA_WORKER_MODEL_DECODER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/rank_plan.h"
#include "worker/backend/backend.h"
#include "worker/comm/group_comms.h"
#include "worker/comm/lane_sum.h"
#include "worker/model/kv_cache.h"
#include "worker/model/rope.h"
#include "worker/model/router.h"
#include "worker/model/weights.h"
#include "worker/model/workspace.h"

namespace tessera::worker {

inline constexpr uint32_t kDrawnIds = 1u << 31;

// The tokens of a step: the same on every rank of the group.
struct Batch {
  uint64_t step = 0;  // tags the messages between stages
  // [rows.num_rows]; kDrawnIds + i: what the backend's drawer draws for row i of its last start.
  const uint32_t* ids = nullptr;
  RowTable rows;
  // Every row is a sequence of its own, or padding at the end (position -1): few different numbers
  // of rows come (worker/backend/graph_rows.h).
  bool single_tokens = false;
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
  // `context_length` is that of the deployment: rope may depend on it.
  Decoder(const shard_loader::DecoderSpec& spec, const shard_loader::RankPlan& plan,
          std::unique_ptr<const Weights> weights, int64_t context_length);

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

    static ShardedSum Of(const shard_loader::ShardedDimension& dimension);
    SharedLanes lanes() const { return {&tree, lanes_by_rank}; }
  };
  // What is added to the residual: [num_rows, hidden], somewhere in the workspace.
  struct Sublayer {
    const float* sum;
    const float* bias;       // or null
    const float* post_norm;  // or null
  };
  // The experts of the rows of one step.
  struct Routing {
    std::vector<std::vector<int32_t>> rows;   // by expert: ascending
    std::vector<std::vector<float>> weights;  // likewise
  };

  // embedding.cc
  absl::Status Embed(const Batch& batch, const ForwardState& state) const;
  void EmbedIds(const uint32_t* ids, int64_t num_rows, float* output,
                const ForwardState& state) const;
  absl::Status EmbedSharded(const Batch& batch, float* output, const ForwardState& state) const;
  void AddPositions(const RowTable& rows, const ForwardState& state) const;

  // decoder.cc
  absl::Status Layer(int64_t layer, const Batch& batch, const ForwardState& state) const;
  // Whether the layers are operations of the backend alone, without anything that the host decides
  // or exchanges between them.
  bool IsAllBackends(const ForwardState& state) const;
  absl::Status ParallelLayer(int64_t layer, const Batch& batch, const ForwardState& state) const;
  void FillAngles(const RowTable& rows, const ForwardState& state) const;
  // The rows normed, in the workspace's `normed`; or the residual itself without pre_norm.
  const float* InputOf(const NormWeights& norm, int64_t num_rows, const ForwardState& state) const;
  void ApplyNorm(const NormWeights& norm, const float* input, int64_t num_rows, float* output,
                 const ForwardState& state) const;
  void AddSublayer(const Sublayer& sublayer, int64_t num_rows, const ForwardState& state) const;
  void NormResidual(const NormWeights& norm, int64_t num_rows, const ForwardState& state) const;
  // The product's partial sums of the rank, [roots of the order, num_rows, hidden].
  void PartialSums(const float* input, int64_t num_rows, const PackedMatrix& weights,
                   const SumOrder& order, float* roots, const ForwardState& state) const;
  // The sums over all lanes of all ranks of the partial sums that lie in the workspace's roots, one
  // sum's behind the other's, by one exchange: in `total` [sums, num_rows, hidden], or in the roots
  // where one rank has all.
  absl::StatusOr<const float*> SumOverRanks(int64_t num_rows,
                                            absl::Span<const ShardedSum* const> sums, float* total,
                                            const ForwardState& state) const;

  // attention.cc. The rank's partial sums over its heads, without bias, into the workspace's roots.
  absl::Status Attention(int64_t layer, const float* input, const Batch& batch,
                         const ForwardState& state) const;
  absl::Status QueryKeyValue(const LayerWeights& weights, const float* input, int64_t num_rows,
                             const ForwardState& state) const;
  const float* LatentQuery(const LayerWeights& weights, const float* input, int64_t num_rows,
                           const ForwardState& state) const;
  void LatentKeyValue(const LayerWeights& weights, const float* input, int64_t num_rows,
                      const ForwardState& state) const;
  absl::Status NormQueryKey(const LayerWeights& weights, int64_t num_rows,
                            const ForwardState& state) const;
  absl::Status NormAllHeads(const LayerWeights& weights, int64_t num_rows,
                            const ForwardState& state) const;

  // mlp.cc. The sum over the columns of all ranks, without bias where that is dense.
  absl::StatusOr<const float*> Mlp(int64_t layer, const float* input, int64_t num_rows,
                                   const ForwardState& state) const;
  absl::StatusOr<const float*> Dense(const MlpWeights& weights, const ShardedSum& sum,
                                     const float* input, int64_t num_rows,
                                     const ForwardState& state) const;
  // The rank's partial sums of the same.
  void DensePartial(const MlpWeights& weights, const ShardedSum& sum, const float* input,
                    int64_t num_rows, float* roots, const ForwardState& state) const;
  void Activate(int64_t size, const float* up, float* gate, const ForwardState& state) const;

  // experts.cc
  absl::StatusOr<const float*> Experts(const LayerWeights& weights, const float* input,
                                       int64_t num_rows, const ForwardState& state) const;
  absl::StatusOr<Routing> Route(const LayerWeights& weights, const float* input, int64_t num_rows,
                                const ForwardState& state) const;
  void RunExperts(const LayerWeights& weights, const float* input, const Routing& routing,
                  int64_t num_rows, const ForwardState& state) const;
  void RunExpert(int64_t expert, const MlpWeights& weights, const float* input,
                 absl::Span<const int32_t> rows, absl::Span<const float> row_weights,
                 const ForwardState& state) const;
  void FoldExpertLanes(int64_t first, int64_t count, int64_t num_rows,
                       const ForwardState& state) const;
  // Biases of experts, from the choices that either of both made.
  void AddExpertBiases(const LayerWeights& weights, const Routing& routing, int64_t num_rows,
                       float* output, const ForwardState& state) const;
  // expert_mixture.cc: Route and RunExperts where the backend has a mixture of its own.
  void MixExperts(const LayerWeights& weights, const float* input, int64_t num_rows,
                  const ForwardState& state) const;
  absl::Status AddShared(const LayerWeights& weights, const float* input, int64_t num_rows,
                         float* output, const ForwardState& state) const;

  // logits.cc
  absl::Status GatherLogits(int64_t num_rows, const ForwardState& state) const;

  const shard_loader::DecoderSpec spec_;
  const shard_loader::RankPlan plan_;
  const std::unique_ptr<const Weights> weights_;
  const Rope rope_;
  const Rope local_rope_;
  const float score_scale_;
  std::vector<float> slopes_;        // of each own query head; empty: none
  std::vector<int32_t> kv_head_of_;  // of each own query head, among the own KV heads
  const ShardedSum attention_sum_;
  const ShardedSum mlp_sum_;
  const ShardedSum moe_sum_;
  const ShardedSum shared_sum_;
  std::vector<SumLane> expert_lanes_;  // of the columns of an expert, each a root of its own
  // With ExpertOrder::kExperts, of each own expert: its lane, among the rank's own.
  std::vector<int32_t> lane_of_expert_;
};

// output = input x weights + bias: columns of the rank, each one sum. bias may be null.
void ColumnParallel(const float* input, int64_t num_rows, const PackedMatrix& weights,
                    const float* bias, float* output, Backend& backend);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_DECODER_H_
