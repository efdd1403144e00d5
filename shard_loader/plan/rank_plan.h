// What one rank of a tp x pp group holds. Pure arithmetic; no bytes are read.
#ifndef TESSERA_SHARD_LOADER_PLAN_RANK_PLAN_H_
#define TESSERA_SHARD_LOADER_PLAN_RANK_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/plan/lanes.h"

namespace tessera::shard_loader {

struct Layout {
  int tp = 1;     // tensor-parallel degree, at most the lanes
  int pp = 1;     // pipeline stages, at most the layers
  int lanes = 8;  // a power of two
  // 1, or tp: the ranks of a stage then hold whole experts, also of models that have few.
  int ep = 1;
};

// The order in which the parts of experts are added (worker/README.md, rule 5).
enum class ExpertOrder {
  kNone,     // the model has no experts
  kLanes,    // lanes are columns; inside of one, experts ascending
  kExperts,  // lanes are groups of whole experts, ascending inside
};

// From so many experts on they are whole by default.
inline constexpr int64_t kWholeExperts = 16;

ExpertOrder ExpertOrderOf(const DecoderSpec& spec, const Layout& layout);

// "lanes", "experts"; "-" for none: as in the numerics id.
const char* ExpertOrderName(ExpertOrder order);

// A dimension that is summed over the ranks of a stage.
struct ShardedDimension {
  LaneTree tree;
  std::vector<Range> lanes_by_rank;  // index: tp_index
  Range lanes;                       // of this rank
  Range units;                       // likewise
};

struct RankPlan {
  int rank = 0;  // stage * tp + tp_index
  int stage = 0;
  int tp_index = 0;
  Layout layout;

  Range layers;           // of this stage
  Range attention_lanes;  // owned; units below are derived from them
  Range heads;            // query heads
  Range kv_heads;         // those that the heads use; repeated on neighbours where they share one
  Range mlp_lanes;
  Range mlp_columns;
  // Empty where the model has none. Units of `moe` are columns, or experts, as `expert_order` says.
  ExpertOrder expert_order = ExpertOrder::kNone;
  ShardedDimension moe;
  Range experts;            // of which this rank holds something
  Range expert_columns;     // of each of them
  ShardedDimension shared;  // columns of the shared experts
  Range vocab;  // rows of embedding and head, cut at the block borders of the log-sum-exp
  bool has_embedding = false;  // stage 0
  bool has_head = false;       // the last stage; with tied embeddings it holds the embedding too

  // The whole group's cuts, which every rank needs to finish the same sums and gathers.
  LaneTree attention_tree;
  LaneTree mlp_tree;
  std::vector<Range> attention_lanes_by_rank;  // index: tp_index
  std::vector<Range> mlp_lanes_by_rank;
  std::vector<Range> vocab_by_rank;
  int64_t vocab_block = 1024;  // ids per block of the log-sum-exp
};

// One plan per rank, in rank order. FAILED_PRECONDITION where the degrees are impossible: it says
// the largest tp of the model and which pp and dp alternatives there are.
absl::StatusOr<std::vector<RankPlan>> MakeRankPlans(const DecoderSpec& spec, const Layout& layout);

// The KV heads that the query heads `heads` read.
Range KvHeadsOf(const AttentionSpec& attention, Range heads);

// The units of the rank along the dimension that a role is cut by.
Range UnitsOf(const RankPlan& plan, CutBy by);

// Ids per block of the log-sum-exp: the largest power of two up to 1,024 that leaves 8 blocks.
int64_t VocabBlock(int64_t vocab_size);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_RANK_PLAN_H_
