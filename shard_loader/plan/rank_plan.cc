#include "shard_loader/plan/rank_plan.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

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
  int mlp_lanes = kMostLanes;
  int moe_lanes = kMostLanes;
  int shared_lanes = kMostLanes;
  int64_t vocab_blocks = 0;

  int Most() const {
    return static_cast<int>(std::min<int64_t>(
        {attention_lanes, mlp_lanes, moe_lanes, shared_lanes, vocab_blocks, kMostLanes}));
  }
};

LaneTree ExpertTree(const DecoderSpec& spec, const Layout& layout) {
  return ExpertOrderOf(spec, layout) == ExpertOrder::kExperts
             ? LaneTree::ForExperts(spec.moe.num_experts, layout.lanes)
             : LaneTree::ForColumns(spec.moe.intermediate_size, layout.lanes);
}

Degrees DegreesOf(const DecoderSpec& spec, const Layout& layout) {
  const int64_t block = VocabBlock(spec.vocab_size);
  Degrees degrees;
  degrees.attention_lanes =
      LaneTree::ForHeads(spec.attention.num_heads, spec.attention.num_kv_heads, layout.lanes)
          .num_lanes();
  const auto columns = [&](int64_t count) {
    return LaneTree::ForColumns(count, layout.lanes).num_lanes();
  };
  if (spec.HasDense()) degrees.mlp_lanes = columns(spec.mlp.intermediate_size);
  if (spec.moe.num_experts > 0) degrees.moe_lanes = ExpertTree(spec, layout).num_lanes();
  if (spec.moe.shared_columns > 0) degrees.shared_lanes = columns(spec.moe.shared_columns);
  degrees.vocab_blocks = (spec.vocab_size + block - 1) / block;
  return degrees;
}

absl::Status TooWide(const DecoderSpec& spec, const Layout& layout, const Degrees& degrees) {
  const int most = degrees.Most();
  const std::string limit =
      degrees.attention_lanes == most
          ? absl::StrCat("its ", spec.attention.num_heads, " attention heads are ", most, " lanes")
      : degrees.mlp_lanes == most
          ? absl::StrCat("its ", spec.mlp.intermediate_size, " MLP columns are ", most, " lanes")
      : degrees.moe_lanes == most
          ? absl::StrCat("its ", spec.moe.num_experts, " experts of ", spec.moe.intermediate_size,
                         " columns are ", most, " lanes")
      : degrees.shared_lanes == most
          ? absl::StrCat("its shared experts' ", spec.moe.shared_columns, " columns are ", most,
                         " lanes")
          : absl::StrCat("its vocabulary of ", spec.vocab_size, " is ", most, " blocks");
  std::string advice = absl::StrCat("use --tp ", most);
  const int stages = (layout.tp * layout.pp + most - 1) / most;
  if (stages > 1 && stages <= spec.num_layers) absl::StrAppend(&advice, " --pp ", stages);
  absl::StrAppend(&advice, ", or --tp ", most, " with --dp ",
                  std::max(2, (layout.tp + most - 1) / most), " replicas");
  int lanes = layout.lanes;
  while (lanes < layout.tp && lanes < kMostLanes) lanes *= 2;
  Layout more = layout;
  more.lanes = lanes;
  if (lanes > layout.lanes && DegreesOf(spec, more).Most() >= layout.tp) {
    absl::StrAppend(&advice, ", or --lanes ", lanes, " (another numerics id)");
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "shard_loader: --tp ", layout.tp, " is more than this model can be cut into: ", limit,
      ", so at most --tp ", most, "; ", advice));
}

absl::Status CheckExperts(const DecoderSpec& spec, const Layout& layout) {
  if (layout.ep == 1) return absl::OkStatus();
  const std::string asked = absl::StrCat("shard_loader: --ep ", layout.ep);
  if (spec.moe.num_experts == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(asked, ": the model (", spec.family, ") has no experts; leave --ep out"));
  }
  if (layout.ep != layout.tp) {
    return absl::FailedPreconditionError(
        absl::StrCat(asked, " with --tp ", layout.tp,
                     ": the ranks that share the experts are those that share the heads; use --tp ",
                     layout.ep, " --ep ", layout.ep, ", or leave --ep out"));
  }
  return absl::OkStatus();
}

absl::Status CheckLayout(const DecoderSpec& spec, const Layout& layout) {
  if (spec.residual != Residual::kSequential && spec.moe.num_experts > 0) {
    return absl::UnimplementedError(
        "shard_loader: experts beside a parallel residual are not supported; models have them one "
        "after the other");
  }
  if (layout.lanes < 1 || layout.lanes > kMostLanes || (layout.lanes & (layout.lanes - 1)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("shard_loader: --lanes ", layout.lanes,
                                                      " is not a power of two from 1 to ",
                                                      kMostLanes, "; the default is 8"));
  }
  if (layout.tp < 1 || layout.pp < 1) {
    return absl::FailedPreconditionError(absl::StrCat("shard_loader: --tp ", layout.tp, " --pp ",
                                                      layout.pp, ": degrees start at 1"));
  }
  RETURN_IF_ERROR(CheckExperts(spec, layout));
  const Degrees degrees = DegreesOf(spec, layout);
  if (layout.pp > spec.num_layers) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard_loader: --pp ", layout.pp, " is more than the model's ",
                     spec.num_layers, " layers; use --pp ", spec.num_layers,
                     " at most, --tp up to ", degrees.Most(), ", or --dp for replicas"));
  }
  if (layout.tp > degrees.Most()) return TooWide(spec, layout, degrees);
  return absl::OkStatus();
}

std::vector<Range> ShareVocab(int64_t vocab_size, int64_t block, int degree) {
  std::vector<Range> shares = ShareEvenly((vocab_size + block - 1) / block, degree);
  for (Range& share : shares) {
    share = {share.begin * block, std::min(share.end * block, vocab_size)};
  }
  return shares;
}

ShardedDimension Shard(LaneTree tree, int degree) {
  ShardedDimension dimension;
  dimension.lanes_by_rank = tree.Share(degree);
  dimension.tree = std::move(tree);
  return dimension;
}

void TakeShare(int tp_index, ShardedDimension& dimension) {
  if (dimension.lanes_by_rank.empty()) return;
  dimension.lanes = dimension.lanes_by_rank[tp_index];
  dimension.units = dimension.tree.Units(dimension.lanes);
}

void TakeExperts(const MoeSpec& moe, RankPlan& plan) {
  if (plan.expert_order == ExpertOrder::kNone) return;
  const bool whole = plan.expert_order == ExpertOrder::kExperts;
  plan.experts = whole ? plan.moe.units : Range{0, moe.num_experts};
  plan.expert_columns = whole ? Range{0, moe.intermediate_size} : plan.moe.units;
}

}  // namespace

ExpertOrder ExpertOrderOf(const DecoderSpec& spec, const Layout& layout) {
  if (spec.moe.num_experts == 0) return ExpertOrder::kNone;
  return spec.moe.num_experts >= kWholeExperts || layout.ep > 1 ? ExpertOrder::kExperts
                                                                : ExpertOrder::kLanes;
}

const char* ExpertOrderName(ExpertOrder order) {
  switch (order) {
    case ExpertOrder::kNone:
      return "-";
    case ExpertOrder::kLanes:
      return "lanes";
    case ExpertOrder::kExperts:
      return "experts";
  }
  return "?";
}

Range KvHeadsOf(const AttentionSpec& attention, Range heads) {
  const int64_t group = attention.num_heads / attention.num_kv_heads;
  return {heads.begin / group, (heads.end - 1) / group + 1};
}

Range UnitsOf(const RankPlan& plan, CutBy by) {
  switch (by) {
    case CutBy::kHeads:
      return plan.heads;
    case CutBy::kKvHeads:
      return plan.kv_heads;
    case CutBy::kColumns:
      return plan.mlp_columns;
    case CutBy::kExpertColumns:
      return plan.expert_columns;
    case CutBy::kSharedColumns:
      return plan.shared.units;
    case CutBy::kVocab:
      return plan.vocab;
    case CutBy::kNothing:
      break;
  }
  return {};
}

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
  shared.expert_order = ExpertOrderOf(spec, layout);
  if (spec.moe.num_experts > 0) shared.moe = Shard(ExpertTree(spec, layout), layout.tp);
  if (spec.moe.shared_columns > 0) {
    shared.shared = Shard(LaneTree::ForColumns(spec.moe.shared_columns, layout.lanes), layout.tp);
  }
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
      TakeShare(tp_index, plan.moe);
      TakeShare(tp_index, plan.shared);
      TakeExperts(spec.moe, plan);
      plan.vocab = shared.vocab_by_rank[tp_index];
      plan.has_embedding = stage == 0;
      plan.has_head = stage == layout.pp - 1;
      plans.push_back(std::move(plan));
    }
  }
  return plans;
}

}  // namespace tessera::shard_loader
