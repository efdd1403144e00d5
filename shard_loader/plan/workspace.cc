#include "shard_loader/plan/workspace.h"

#include <algorithm>

#include "shard_loader/plan/packed_layout.h"
#include "shard_loader/plan/rounding.h"

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

ByteSpan Take(int64_t bytes, int64_t* total) {
  ByteSpan span{*total, bytes};
  *total += RoundUp(bytes, kPackedAlignment);
  return span;
}

// Rows that pass over the experts at a time: partial sums of so many for every lane are held.
constexpr int64_t kExpertRows = 256;

int64_t RootsOf(const LaneTree& tree, Range lanes) {
  return static_cast<int64_t>(tree.MaximalSubtrees(lanes).size());
}

int TreeDepth(const LaneTree& tree, int node) {
  const LaneNode& at = tree.nodes()[node];
  if (at.left < 0) return 0;
  return 1 + std::max(TreeDepth(tree, at.left), TreeDepth(tree, at.right));
}

struct SharedSum {
  const LaneTree& tree;
  const std::vector<Range>& lanes_by_rank;
};

// What sums of `count` floats each over the ranks, side by side, take: own partial sums packed for
// sending, those of the others (whole, or of the slice that the rank finishes, which may lie in any
// of the sums), and inner nodes of a tree.
int64_t SumFloats(const std::vector<SharedSum>& sums, int rank, int64_t count) {
  int64_t own = 0, others = 0, most_others = 0, depth = 0;
  for (const SharedSum& sum : sums) {
    int64_t roots = 0;
    for (const Range& lanes : sum.lanes_by_rank) roots += RootsOf(sum.tree, lanes);
    const int64_t owned = RootsOf(sum.tree, sum.lanes_by_rank[rank]);
    own += owned;
    others += roots - owned;
    most_others = std::max(most_others, roots - owned);
    depth = std::max<int64_t>(depth, TreeDepth(sum.tree, 0));
  }
  const int64_t ranks = static_cast<int64_t>(sums[0].lanes_by_rank.size());
  const int64_t columns = count * static_cast<int64_t>(sums.size());
  const int64_t received =
      columns < kOneShotFloats ? others * count : most_others * ((columns + ranks - 1) / ranks);
  return own * count + received + (depth + 1) * kSumBlock;
}

// The largest of all exchanges, and of the largest sum of either kind; a test compares it with
// worker/comm's LaneSumWorkspace::Bytes.
int64_t LaneSumBytes(const DecoderSpec& spec, const RankPlan& plan, int64_t max_count) {
  if (plan.layout.tp == 1) return 0;
  int64_t floats = 0;
  const auto add = [&](const std::vector<SharedSum>& sums) {
    for (const SharedSum& sum : sums) {
      if (sum.lanes_by_rank.empty()) return;
    }
    const int64_t one_shot = (kOneShotFloats - 1) / static_cast<int64_t>(sums.size());
    for (int64_t count : {max_count, std::min(max_count, one_shot)}) {
      floats = std::max(floats, SumFloats(sums, plan.tp_index, count));
    }
  };
  const SharedSum attention = {plan.attention_tree, plan.attention_lanes_by_rank};
  const SharedSum mlp = {plan.mlp_tree, plan.mlp_lanes_by_rank};
  if (spec.residual == Residual::kSequential) {
    add({attention});
    add({mlp});
  } else {
    add({attention, mlp});
  }
  add({{plan.moe.tree, plan.moe.lanes_by_rank}});
  add({{plan.shared.tree, plan.shared.lanes_by_rank}});
  return floats * kFloat;
}

}  // namespace

KvBlockShape MakeKvBlockShape(const DecoderSpec& spec) {
  return {spec.attention.head_size, RoundUp(spec.attention.values(), 16)};
}

int64_t KvBlockShape::bytes(const KvFormat& format) const {
  if (!format.int8) return elements() * DTypeSize(format.dtype);
  return elements() + 2 * kKvBlockTokens * kFloat;
}

int64_t KvBytesPerBlock(const DecoderSpec& spec, const RankPlan& plan, const KvFormat& format) {
  return plan.layers.size() * plan.kv_heads.size() * MakeKvBlockShape(spec).bytes(format);
}

namespace {

// Heads and KV heads of all ranks together; KV heads that ranks share count for each.
int64_t GatheredHeads(const DecoderSpec& spec, const RankPlan& plan) {
  int64_t heads = 0;
  for (const Range& lanes : plan.attention_lanes_by_rank) {
    const Range own = plan.attention_tree.Units(lanes);
    heads += own.size() + KvHeadsOf(spec.attention, own).size();
  }
  return heads;
}

void TakeAttention(const DecoderSpec& spec, const RankPlan& plan, int64_t tokens,
                   WorkspaceLayout* layout) {
  const AttentionSpec& attention = spec.attention;
  int64_t* total = &layout->arena_bytes;
  const auto take = [&](bool present, int64_t columns) {
    return present ? Take(tokens * columns * kFloat, total) : ByteSpan{};
  };
  const bool latent = attention.latent.kv_rank > 0;
  const int64_t rotary = attention.rotary();
  layout->angles = take(spec.UsesRope(RopeUse::kMain), 2 * (rotary / 2));
  layout->local_angles = take(spec.UsesRope(RopeUse::kLocal), 2 * (rotary / 2));
  layout->query = take(true, plan.heads.size() * attention.head_size);
  layout->key = take(true, plan.kv_heads.size() * attention.head_size);
  layout->value = take(true, plan.kv_heads.size() * attention.values());
  layout->attention = take(true, plan.heads.size() * attention.values());
  layout->query_latent = take(attention.latent.query_rank > 0, attention.latent.query_rank);
  layout->latent = take(latent, attention.latent.kv_rank);
  layout->key_rope = take(latent, rotary);
  layout->key_parts = take(latent, plan.kv_heads.size() * (attention.head_size - rotary));
  layout->squares = take(attention.qk_norm == QkNorm::kAllHeads, GatheredHeads(spec, plan) + 2);
}

void TakeMlp(const DecoderSpec& spec, const RankPlan& plan, int64_t tokens,
             WorkspaceLayout* layout) {
  int64_t* total = &layout->arena_bytes;
  const int64_t columns =
      std::max(spec.HasDense() ? plan.mlp_columns.size() : 0, plan.shared.units.size());
  layout->gate = Take(tokens * columns * kFloat, total);
  layout->up = Take(tokens * columns * kFloat, total);
  if (spec.moe.num_experts == 0) return;
  const int64_t rows = std::min(tokens, kExpertRows);
  const int64_t lanes = plan.moe.lanes.size();
  const int64_t parts = plan.expert_order == ExpertOrder::kLanes ? lanes : 1;
  layout->expert_rows = rows;
  layout->router = Take(rows * spec.moe.num_experts * kFloat, total);
  if (spec.moe.shared_gate) layout->shared_gate = Take(tokens * kFloat, total);
  layout->expert_input = Take(rows * spec.hidden_size * kFloat, total);
  layout->expert_gate = Take(rows * plan.expert_columns.size() * kFloat, total);
  layout->expert_up = Take(rows * plan.expert_columns.size() * kFloat, total);
  layout->expert_parts = Take(parts * rows * spec.hidden_size * kFloat, total);
  layout->expert_sums = Take(lanes * rows * spec.hidden_size * kFloat, total);
}

}  // namespace

WorkspaceLayout MakeWorkspaceLayout(const DecoderSpec& spec, const RankPlan& plan,
                                    const StepLimits& limits) {
  const int64_t tokens = std::max<int64_t>(1, limits.max_num_batched_tokens);
  const int64_t hidden = tokens * spec.hidden_size;
  const bool parallel = spec.residual != Residual::kSequential;
  const int64_t attention = RootsOf(plan.attention_tree, plan.attention_lanes);
  const int64_t mlp = RootsOf(plan.mlp_tree, plan.mlp_lanes);
  const int64_t roots = std::max({parallel ? attention + mlp : std::max(attention, mlp),
                                  RootsOf(plan.moe.tree, plan.moe.lanes),
                                  RootsOf(plan.shared.tree, plan.shared.lanes)});
  // Where one rank has all, its roots are the sums.
  const bool branches = (parallel && plan.layout.tp > 1) || spec.moe.num_experts > 0;

  WorkspaceLayout layout;
  int64_t* total = &layout.arena_bytes;
  layout.residual = Take(hidden * kFloat, total);
  layout.normed = Take(hidden * kFloat, total);
  if (branches) layout.branch = Take(hidden * kFloat, total);
  const bool embeds = plan.has_embedding && spec.embedding_size > 0;
  if (embeds) layout.embedded = Take(tokens * spec.embedding_size * kFloat, total);
  TakeAttention(spec, plan, tokens, &layout);
  TakeMlp(spec, plan, tokens, &layout);
  const int64_t row = std::max(spec.hidden_size, spec.embedding());
  layout.roots = Take(std::max(std::max<int64_t>(1, roots) * hidden, tokens * row) * kFloat, total);
  if (plan.has_head) {
    layout.logit_rows = std::clamp<int64_t>(kLogitChunkBytes / (spec.vocab_size * kFloat), 1,
                                            std::min(tokens, kMaxLogitRows));
    const bool draws = plan.tp_index == 0;
    const bool whole = plan.layout.tp == 1;
    layout.logit_input = Take(layout.logit_rows * spec.hidden_size * kFloat, total);
    if (spec.embedding_size > 0) {
      layout.logit_project = Take(layout.logit_rows * spec.embedding_size * kFloat, total);
    }
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
  layout.lane_sum_bytes = LaneSumBytes(spec, plan, hidden);
  return layout;
}

}  // namespace tessera::shard_loader
