#include "shard_loader/plan/device_scratch.h"

#include <algorithm>
#include <vector>

#include "shard_loader/plan/device_experts.h"
#include "shard_loader/plan/rounding.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kWord = 4;
constexpr int64_t kAlignment = 256;

// Of the widest product of the rank.
int64_t MostColumns(const DecoderSpec& spec, const RankPlan& plan) {
  return std::max({spec.hidden_size, plan.heads.size() * spec.attention.values(),
                   spec.attention.latent.query_rank, spec.attention.latent.kv_rank,
                   spec.embedding_size, plan.mlp_columns.size(), plan.shared.units.size(),
                   plan.expert_columns.size()});
}

// Groups within lanes of a product with `columns`, at most: each border of a lane cuts one more.
int64_t MostSegments(const WeightFormat& weights, const Layout& layout, int64_t columns) {
  if (!weights.coded()) return 0;
  return CeilDiv(columns, weights.group) + layout.lanes + 1;
}

int64_t TileBytes(const DecoderSpec& spec, const RankPlan& plan, int64_t rows, int64_t tokens) {
  int64_t tiles = 1;
  while (tiles < CeilDiv(tokens, 256)) tiles *= 2;
  if (tiles == 1) return 0;
  const int64_t row = plan.heads.size() * (spec.attention.values() + 2) * kWord;
  return std::min(kMaxDeviceTileBytes, tiles * rows * row);
}

// Which KV head a head reads, its slope, where experts are added, and the segments of every kind of
// coded product: each a copy of its own.
int64_t ConstantBytes(const RankPlan& plan, int64_t segments) {
  constexpr int64_t kKindsOfProducts = 20;
  const bool whole_experts = plan.expert_order == ExpertOrder::kExperts;
  return 2 * RoundUp(plan.heads.size() * kWord, kAlignment) +
         (whole_experts ? RoundUp(plan.experts.size() * kWord, kAlignment) : 0) +
         (segments == 0 ? 0
                        : kKindsOfProducts * RoundUp(segments * kDeviceSegmentBytes, kAlignment));
}

// Zeros where the model has no experts.
DeviceExperts ExpertsOf(const DecoderSpec& spec, const RankPlan& plan, const StepLimits& limits) {
  if (spec.moe.num_experts == 0) return {};
  const int64_t parts = plan.expert_order == ExpertOrder::kLanes ? plan.moe.lanes.size() : 1;
  return {MakeWorkspaceLayout(spec, plan, limits).expert_rows, spec.moe.experts_per_token,
          spec.hidden_size, plan.expert_columns.size(), parts};
}

}  // namespace

DeviceScratch PlanDeviceScratch(const DecoderSpec& spec, const RankPlan& plan,
                                const DeviceScratchOptions& options) {
  const int64_t tokens = std::max<int64_t>(1, options.limits.max_num_batched_tokens);
  const int64_t length = options.max_model_len > 0 ? options.max_model_len : spec.context_length;
  const int64_t columns = MostColumns(spec, plan);
  const int64_t segments = MostSegments(options.weights, plan.layout, columns);
  const DeviceExperts experts = ExpertsOf(spec, plan, options.limits);
  const int64_t pairs = experts.rows * experts.per_token;

  DeviceScratch scratch;
  // Position, table, and a group of two words for each row; then the tables of the sequences.
  const int64_t sequences = std::min(tokens, std::max<int64_t>(1, options.limits.max_num_seqs));
  scratch.rows = (4 * tokens + sequences * CeilDiv(length, kKvBlockTokens)) * kWord;
  scratch.indices = tokens * 2 * kWord;
  if (options.weights.dtype != DType::kF32) {
    scratch.narrowed = std::max(tokens, pairs) * RoundUp(columns, 64) * 2;
  }
  if (segments > 0) {
    const int64_t row = DeviceCodeStride(columns, segments) + segments * 2 * kWord;
    scratch.codes = std::max(std::min(tokens, kDeviceCodedRows), pairs) * row;
  }
  scratch.tiles = TileBytes(spec, plan, tokens, length);
  scratch.constants = ConstantBytes(plan, segments);
  if (pairs > 0) {
    scratch.choices = tokens * experts.per_token * kDeviceChoiceBytes;
    scratch.experts = MakeDeviceExpertRoom(experts).bytes;
  }
  if (plan.has_head && plan.tp_index == 0) {
    const StepLimits limits = options.limits;
    const int64_t rows = MakeWorkspaceLayout(spec, plan, limits).logit_rows;
    const int64_t blocks = CeilDiv(spec.vocab_size, plan.vocab_block);
    // One row with everything that a request may name; most often those of many rows fit.
    scratch.draw_lists = std::max((length + 4 * spec.vocab_size) * kWord,
                                  std::min(rows * length * kWord, int64_t{1} << 20));
    scratch.most_draws = rows;
    scratch.draw_rows = rows * (spec.vocab_size * kDeviceDrawBytesPerId +
                                blocks * kDeviceDrawBytesPerBlock + kDeviceDrawBytesPerRow);
  }
  return scratch;
}

absl::StatusOr<DeviceScratch> PlanDraftScratch(const DecoderSpec& spec, const WeightFormat& weights,
                                               int64_t max_model_len) {
  ASSIGN_OR_RETURN(const std::vector<RankPlan> plans, MakeRankPlans(spec, {1, 1, 1}));
  return PlanDeviceScratch(
      spec, plans[0],
      {.weights = weights, .limits = {kDraftRows, kDraftRows}, .max_model_len = max_model_len});
}

DeviceScratch InTurns(const DeviceScratch& a, const DeviceScratch& b) {
  DeviceScratch both;
  both.rows = std::max(a.rows, b.rows);
  both.indices = std::max(a.indices, b.indices);
  both.narrowed = std::max(a.narrowed, b.narrowed);
  both.codes = std::max(a.codes, b.codes);
  both.tiles = std::max(a.tiles, b.tiles);
  both.constants = a.constants + b.constants;
  both.draw_lists = std::max(a.draw_lists, b.draw_lists);
  both.draw_rows = std::max(a.draw_rows, b.draw_rows);
  both.most_draws = std::max(a.most_draws, b.most_draws);
  both.choices = std::max(a.choices, b.choices);
  both.experts = std::max(a.experts, b.experts);
  return both;
}

}  // namespace tessera::shard_loader
