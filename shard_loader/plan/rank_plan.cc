#include "shard_loader/plan/rank_plan.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/tensors.h"
#include "shard_loader/plan/stages.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr int kMostLanes = 1024;

// What the sharded dimensions of a model allow.
struct Degrees {
  int attention_lanes = 0;
  int mlp_lanes = 0;
  int64_t vocab_blocks = 0;

  int Most() const {
    return static_cast<int>(
        std::min<int64_t>({attention_lanes, mlp_lanes, vocab_blocks, kMostLanes}));
  }
};

Degrees DegreesOf(const DecoderSpec& spec, int lanes) {
  const int64_t block = VocabBlock(spec.vocab_size);
  return {
      LaneTree::ForHeads(spec.attention.num_heads, spec.attention.num_kv_heads, lanes).num_lanes(),
      LaneTree::ForColumns(spec.mlp.intermediate_size, lanes).num_lanes(),
      (spec.vocab_size + block - 1) / block};
}

absl::Status TooWide(const DecoderSpec& spec, const Layout& layout, const Degrees& degrees) {
  const int most = degrees.Most();
  const std::string limit =
      degrees.attention_lanes == most
          ? absl::StrCat("its ", spec.attention.num_heads, " attention heads are ", most, " lanes")
      : degrees.mlp_lanes == most
          ? absl::StrCat("its ", spec.mlp.intermediate_size, " MLP columns are ", most, " lanes")
          : absl::StrCat("its vocabulary of ", spec.vocab_size, " is ", most, " blocks");
  std::string advice = absl::StrCat("use --tp ", most);
  const int stages = (layout.tp * layout.pp + most - 1) / most;
  if (stages > 1 && stages <= spec.num_layers) absl::StrAppend(&advice, " --pp ", stages);
  absl::StrAppend(&advice, ", or --tp ", most, " with --dp ",
                  std::max(2, (layout.tp + most - 1) / most), " replicas");
  int lanes = layout.lanes;
  while (lanes < layout.tp && lanes < kMostLanes) lanes *= 2;
  if (lanes > layout.lanes && DegreesOf(spec, lanes).Most() >= layout.tp) {
    absl::StrAppend(&advice, ", or --lanes ", lanes, " (another numerics id)");
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "shard_loader: --tp ", layout.tp, " is more than this model can be cut into: ", limit,
      ", so at most --tp ", most, "; ", advice));
}

absl::Status CheckLayout(const DecoderSpec& spec, const Layout& layout) {
  if (layout.lanes < 1 || layout.lanes > kMostLanes || (layout.lanes & (layout.lanes - 1)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("shard_loader: --lanes ", layout.lanes,
                                                      " is not a power of two from 1 to ",
                                                      kMostLanes, "; the default is 8"));
  }
  if (layout.tp < 1 || layout.pp < 1) {
    return absl::FailedPreconditionError(absl::StrCat("shard_loader: --tp ", layout.tp, " --pp ",
                                                      layout.pp, ": degrees start at 1"));
  }
  const Degrees degrees = DegreesOf(spec, layout.lanes);
  if (layout.pp > spec.num_layers) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: --pp ", layout.pp, " is more than the model's ",
                     spec.num_layers, " layers; use --pp ", spec.num_layers,
                     " at most, --tp up to ", degrees.Most(), ", or --dp for replicas"));
  }
  if (layout.tp > degrees.Most()) return TooWide(spec, layout, degrees);
  return absl::OkStatus();
}

// The KV heads that the query heads `heads` read.
Range KvHeadsOf(const AttentionSpec& attention, Range heads) {
  const int64_t group = attention.num_heads / attention.num_kv_heads;
  return {heads.begin / group, (heads.end - 1) / group + 1};
}

std::vector<Range> ShareVocab(int64_t vocab_size, int64_t block, int degree) {
  std::vector<Range> shares = ShareEvenly((vocab_size + block - 1) / block, degree);
  for (Range& share : shares) {
    share = {share.begin * block, std::min(share.end * block, vocab_size)};
  }
  return shares;
}

}  // namespace

int64_t VocabBlock(int64_t vocab_size) {
  int64_t block = 1024;
  while (block > 1 && (vocab_size + block - 1) / block < 8) block /= 2;
  return block;
}

absl::StatusOr<std::vector<RankPlan>> MakeRankPlans(const DecoderSpec& spec, const Layout& layout) {
  RETURN_IF_ERROR(CheckLayout(spec, layout));
  RankPlan shared;
  shared.layout = layout;
  shared.attention_tree =
      LaneTree::ForHeads(spec.attention.num_heads, spec.attention.num_kv_heads, layout.lanes);
  shared.mlp_tree = LaneTree::ForColumns(spec.mlp.intermediate_size, layout.lanes);
  shared.attention_lanes_by_rank = shared.attention_tree.Share(layout.tp);
  shared.mlp_lanes_by_rank = shared.mlp_tree.Share(layout.tp);
  shared.vocab_block = VocabBlock(spec.vocab_size);
  shared.vocab_by_rank = ShareVocab(spec.vocab_size, shared.vocab_block, layout.tp);
  const std::vector<Range> stages = CutStages(StageCostsOf(spec), layout.pp);

  std::vector<RankPlan> plans;
  for (int stage = 0; stage < layout.pp; ++stage) {
    for (int tp_index = 0; tp_index < layout.tp; ++tp_index) {
      RankPlan plan = shared;
      plan.rank = stage * layout.tp + tp_index;
      plan.stage = stage;
      plan.tp_index = tp_index;
      plan.layers = stages[stage];
      plan.attention_lanes = shared.attention_lanes_by_rank[tp_index];
      plan.heads = shared.attention_tree.Units(plan.attention_lanes);
      plan.kv_heads = KvHeadsOf(spec.attention, plan.heads);
      plan.mlp_lanes = shared.mlp_lanes_by_rank[tp_index];
      plan.mlp_columns = shared.mlp_tree.Units(plan.mlp_lanes);
      plan.vocab = shared.vocab_by_rank[tp_index];
      plan.has_embedding = stage == 0;
      plan.has_head = stage == layout.pp - 1;
      plans.push_back(std::move(plan));
    }
  }
  return plans;
}

}  // namespace tessera::shard_loader
