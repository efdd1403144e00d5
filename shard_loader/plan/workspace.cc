#include "shard_loader/plan/workspace.h"

#include <algorithm>

#include "shard_loader/plan/packed_layout.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kFloat = 4;
// Logits are computed in chunks of rows of about this size.
constexpr int64_t kLogitChunkBytes = int64_t{16} << 20;
constexpr int64_t kMaxLogitRows = 64;
// Of worker/comm/lane_sum.h: sums of fewer floats are gathered whole, and the tree is finished so
// many columns at a time.
constexpr int64_t kOneShotFloats = 8192;
constexpr int64_t kSumBlock = 1024;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

ByteSpan Take(int64_t bytes, int64_t* total) {
  ByteSpan span{*total, bytes};
  *total += RoundUp(bytes, kPackedAlignment);
  return span;
}

int64_t RootsOf(const LaneTree& tree, Range lanes) {
  return static_cast<int64_t>(tree.MaximalSubtrees(lanes).size());
}

int TreeDepth(const LaneTree& tree, int node) {
  const LaneNode& at = tree.nodes()[node];
  if (at.left < 0) return 0;
  return 1 + std::max(TreeDepth(tree, at.left), TreeDepth(tree, at.right));
}

// What a sum of `count` floats over the ranks takes: own partial sums packed for sending, those of
// the others (whole, or the slice that the rank finishes), and inner nodes of the tree.
int64_t SumFloats(const LaneTree& tree, const std::vector<Range>& lanes_by_rank, int rank,
                  int64_t count) {
  int64_t others = 0;
  for (const Range& lanes : lanes_by_rank) others += RootsOf(tree, lanes);
  const int64_t own = RootsOf(tree, lanes_by_rank[rank]);
  others -= own;
  const int64_t ranks = static_cast<int64_t>(lanes_by_rank.size());
  const int64_t received = count < kOneShotFloats ? count : (count + ranks - 1) / ranks;
  return own * count + others * received + (TreeDepth(tree, 0) + 1) * kSumBlock;
}

// The larger of both trees, and of the largest sum of either kind; a test compares it with
// worker/comm's LaneSumWorkspace::Bytes.
int64_t LaneSumBytes(const RankPlan& plan, int64_t max_count) {
  if (plan.layout.tp == 1) return 0;
  int64_t floats = 0;
  for (int64_t count : {max_count, std::min(max_count, kOneShotFloats - 1)}) {
    floats = std::max(
        {floats, SumFloats(plan.attention_tree, plan.attention_lanes_by_rank, plan.tp_index, count),
         SumFloats(plan.mlp_tree, plan.mlp_lanes_by_rank, plan.tp_index, count)});
  }
  return floats * kFloat;
}

}  // namespace

KvBlockShape MakeKvBlockShape(const DecoderSpec& spec) {
  const int64_t head_size = spec.attention.head_size;
  return {head_size, RoundUp(head_size, 16)};
}

int64_t KvBytesPerBlock(const DecoderSpec& spec, const RankPlan& plan, DType kv_dtype) {
  return plan.layers.size() * plan.kv_heads.size() * MakeKvBlockShape(spec).elements() *
         DTypeSize(kv_dtype);
}

WorkspaceLayout MakeWorkspaceLayout(const DecoderSpec& spec, const RankPlan& plan,
                                    const StepLimits& limits) {
  const int64_t tokens = std::max<int64_t>(1, limits.max_num_batched_tokens);
  const int64_t hidden = tokens * spec.hidden_size;
  const int64_t head = tokens * spec.attention.head_size;
  const int64_t roots = std::max(RootsOf(plan.attention_tree, plan.attention_lanes),
                                 RootsOf(plan.mlp_tree, plan.mlp_lanes));

  WorkspaceLayout layout;
  int64_t* total = &layout.arena_bytes;
  layout.residual = Take(hidden * kFloat, total);
  layout.normed = Take(hidden * kFloat, total);
  layout.angles = Take(2 * tokens * (spec.attention.head_size / 2) * kFloat, total);
  layout.query = Take(head * plan.heads.size() * kFloat, total);
  layout.key = Take(head * plan.kv_heads.size() * kFloat, total);
  layout.value = Take(head * plan.kv_heads.size() * kFloat, total);
  layout.attention = Take(head * plan.heads.size() * kFloat, total);
  layout.gate = Take(tokens * plan.mlp_columns.size() * kFloat, total);
  layout.up = Take(tokens * plan.mlp_columns.size() * kFloat, total);
  layout.roots = Take(std::max<int64_t>(1, roots) * hidden * kFloat, total);
  if (plan.has_head) {
    layout.logit_rows = std::clamp<int64_t>(kLogitChunkBytes / (spec.vocab_size * kFloat), 1,
                                            std::min(tokens, kMaxLogitRows));
    const bool draws = plan.tp_index == 0;
    const bool whole = plan.layout.tp == 1;
    layout.logit_input = Take(layout.logit_rows * spec.hidden_size * kFloat, total);
    if (!whole) {
      layout.shard_logits = Take(layout.logit_rows * plan.vocab.size() * kFloat, total);
    }
    if (draws) {
      const int64_t bytes = layout.logit_rows * spec.vocab_size * kFloat;
      if (!whole) layout.rank_logits = Take(bytes, total);
      layout.logits = Take(bytes, total);
      layout.sampling = Take(spec.vocab_size * kSamplingBytesPerId, total);
    }
  }
  layout.lane_sum_bytes = LaneSumBytes(plan, hidden);
  return layout;
}

}  // namespace tessera::shard_loader
