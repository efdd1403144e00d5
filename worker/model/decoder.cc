#include "worker/model/decoder.h"

#include <utility>

#include "shard_loader/status_macros.h"
#include "worker/comm/lane_sum.h"
#include "worker/model/device_sum.h"
#include "worker/model/residual_trace.h"
#include "worker/model/slopes.h"

namespace tessera::worker {
namespace {

using shard_loader::ExpertOrder;
using shard_loader::Residual;
using shard_loader::RopeUse;

absl::Span<std::byte> BytesOf(float* data, int64_t count) {
  return {reinterpret_cast<std::byte*>(data), static_cast<size_t>(count) * sizeof(float)};
}

// The rank of the same tp_index `stages` further on.
int NeighbourStage(const shard_loader::RankPlan& plan, int stages) {
  return plan.rank + stages * plan.layout.tp;
}

std::vector<float> OwnSlopes(const shard_loader::AttentionSpec& attention,
                             shard_loader::Range heads) {
  if (!attention.alibi) return {};
  const std::vector<float> slopes = AlibiSlopes(attention);
  return {slopes.begin() + heads.begin, slopes.begin() + heads.end};
}

// With `lanes` the lanes of the rank are ranges of columns; with `experts` a lane has whole ones.
std::vector<SumLane> ExpertLanes(const shard_loader::RankPlan& plan) {
  if (plan.expert_order != ExpertOrder::kLanes) {
    return {SumLane{0, plan.expert_columns.size(), 0, 0}};
  }
  std::vector<SumLane> lanes;
  for (int64_t lane = plan.moe.lanes.begin; lane < plan.moe.lanes.end; ++lane) {
    const shard_loader::Range columns = plan.moe.tree.lane(static_cast<int>(lane));
    lanes.push_back({columns.begin - plan.expert_columns.begin,
                     columns.end - plan.expert_columns.begin, 0, static_cast<int>(lanes.size())});
  }
  return lanes;
}

// Empty with `lanes`.
std::vector<int32_t> LanesOfExperts(const shard_loader::RankPlan& plan) {
  std::vector<int32_t> lanes;
  if (plan.expert_order != ExpertOrder::kExperts) return lanes;
  int32_t lane = 0;
  for (int64_t expert = plan.experts.begin; expert < plan.experts.end; ++expert) {
    while (plan.moe.tree.lane(static_cast<int>(plan.moe.lanes.begin) + lane).end <= expert) ++lane;
    lanes.push_back(lane);
  }
  return lanes;
}

}  // namespace

void ColumnParallel(const float* input, int64_t num_rows, const PackedMatrix& weights,
                    const float* bias, float* output, Backend& backend) {
  const SumLane whole = {0, weights.columns, 0, 0};
  ProductArgs args;
  args.input = input;
  args.num_rows = num_rows;
  args.weights = weights;
  args.lanes = &whole;
  args.num_lanes = 1;
  args.bias = bias;
  args.output = output;
  backend.Product(args);
}

Decoder::ShardedSum Decoder::ShardedSum::Of(const shard_loader::ShardedDimension& dimension) {
  return {SumOrder::Lanes(dimension.tree, dimension.lanes, 1), dimension.tree,
          dimension.lanes_by_rank};
}

Decoder::Decoder(const shard_loader::DecoderSpec& spec, const shard_loader::RankPlan& plan,
                 std::unique_ptr<const Weights> weights, int64_t context_length)
    : spec_(spec),
      plan_(plan),
      weights_(std::move(weights)),
      rope_(spec.rope, spec.attention.rotary(), context_length),
      local_rope_(spec.local_rope, spec.attention.rotary(), context_length),
      score_scale_(spec.attention.scale * rope_.score_factor()),
      slopes_(OwnSlopes(spec.attention, plan.heads)),
      attention_sum_{
          SumOrder::Lanes(plan.attention_tree, plan.attention_lanes, spec.attention.values()),
          plan.attention_tree, plan.attention_lanes_by_rank},
      mlp_sum_{SumOrder::Lanes(plan.mlp_tree, plan.mlp_lanes, 1), plan.mlp_tree,
               plan.mlp_lanes_by_rank},
      moe_sum_(ShardedSum::Of(plan.moe)),
      shared_sum_(ShardedSum::Of(plan.shared)),
      expert_lanes_(ExpertLanes(plan)),
      lane_of_expert_(LanesOfExperts(plan)) {
  const int64_t group = spec.attention.num_heads / spec.attention.num_kv_heads;
  for (int64_t head = plan.heads.begin; head < plan.heads.end; ++head) {
    kv_head_of_.push_back(static_cast<int32_t>(head / group - plan.kv_heads.begin));
  }
}

absl::Status Decoder::Forward(const Batch& batch, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  float* residual = workspace.At(workspace.layout().residual);
  const absl::Span<std::byte> hidden = BytesOf(residual, batch.rows.num_rows * spec_.hidden_size);
  if (plan_.has_embedding) {
    RETURN_IF_ERROR(Embed(batch, state));
    if (state.trace != nullptr) state.trace->Layer(-1, batch.rows, residual, spec_.hidden_size);
  } else {
    RETURN_IF_ERROR(state.comms->group->Recv(NeighbourStage(plan_, -1), batch.step, hidden));
  }
  FillAngles(batch.rows, state);
  int64_t done = 0;  // layers that were called, rather than repeated by a device
  auto layers = [&]() -> absl::Status {
    for (; done < plan_.layers.size(); ++done) {
      if (spec_.residual == Residual::kSequential) {
        RETURN_IF_ERROR(Layer(done, batch, state));
      } else {
        RETURN_IF_ERROR(ParallelLayer(done, batch, state));
      }
      state.layers_done->fetch_add(1, std::memory_order_relaxed);
      if (state.trace == nullptr) continue;
      state.trace->Layer(plan_.layers.begin + done, batch.rows, residual, spec_.hidden_size);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(batch.single_tokens && IsAllBackends(state)
                      ? state.backend->Repeat(batch.rows, layers)
                      : layers());
  state.layers_done->fetch_add(plan_.layers.size() - done, std::memory_order_relaxed);
  if (plan_.has_head) return absl::OkStatus();
  return state.comms->group->Send(NeighbourStage(plan_, 1), batch.step, hidden);
}

bool Decoder::IsAllBackends(const ForwardState& state) const {
  const bool experts_are = spec_.moe.num_experts == 0 || state.backend->mixture() != nullptr;
  return plan_.layout.tp == 1 && experts_are &&
         spec_.attention.qk_norm != shard_loader::QkNorm::kAllHeads;
}

void Decoder::FillAngles(const RowTable& rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const auto fill = [&](const Rope& rope, const shard_loader::ByteSpan& span) {
    if (span.bytes == 0) return;
    float* cosines = workspace.At(span);
    const int64_t count = rows.num_rows * (spec_.attention.rotary() / 2);
    Memory& memory = state.backend->memory();
    if (memory.on_host()) {
      return rope.FillAngles(rows.positions, rows.num_rows, cosines, cosines + count);
    }
    std::vector<float> angles(2 * count);
    rope.FillAngles(rows.positions, rows.num_rows, angles.data(), angles.data() + count);
    memory.CopyIn(angles.data(), 2 * count * static_cast<int64_t>(sizeof(float)), cosines);
  };
  fill(rope_, workspace.layout().angles);
  fill(local_rope_, workspace.layout().local_angles);
}

absl::Status Decoder::Layer(int64_t layer, const Batch& batch, const ForwardState& state) const {
  const LayerWeights& weights = weights_->layers()[layer];
  const int64_t num_rows = batch.rows.num_rows;
  const float* input = InputOf(weights.attention_norm, num_rows, state);
  RETURN_IF_ERROR(Attention(layer, input, batch, state));
  float* total = state.workspace->At(state.workspace->layout().normed);
  ASSIGN_OR_RETURN(const float* const attention,
                   SumOverRanks(num_rows, {&attention_sum_}, total, state));
  AddSublayer({attention, weights.output_bias, weights.post_attention_norm}, num_rows, state);
  NormResidual(weights.attention_norm, num_rows, state);

  input = InputOf(weights.mlp_norm, num_rows, state);
  ASSIGN_OR_RETURN(const float* const mlp, Mlp(layer, input, num_rows, state));
  AddSublayer({mlp, weights.mlp.down_bias, weights.post_mlp_norm}, num_rows, state);
  NormResidual(weights.mlp_norm, num_rows, state);
  return absl::OkStatus();
}

absl::Status Decoder::ParallelLayer(int64_t layer, const Batch& batch,
                                    const ForwardState& state) const {
  const LayerWeights& weights = weights_->layers()[layer];
  Workspace& workspace = *state.workspace;
  const int64_t num_rows = batch.rows.num_rows;
  const int64_t count = num_rows * spec_.hidden_size;
  const float* input = InputOf(weights.attention_norm, num_rows, state);
  RETURN_IF_ERROR(Attention(layer, input, batch, state));
  if (spec_.residual != Residual::kParallelOneNorm) {
    input = InputOf(weights.mlp_norm, num_rows, state);
  }
  float* roots = workspace.At(workspace.layout().roots);
  DensePartial(weights.mlp, mlp_sum_, input, num_rows,
               roots + attention_sum_.order.num_roots * count, state);

  // Both sums from here on: in the place of the normed rows and of the branch behind them.
  float* total = workspace.At(workspace.layout().normed);
  ASSIGN_OR_RETURN(const float* const sums,
                   SumOverRanks(num_rows, {&attention_sum_, &mlp_sum_}, total, state));
  AddSublayer({sums, weights.output_bias, weights.post_attention_norm}, num_rows, state);
  AddSublayer({sums + count, weights.mlp.down_bias, weights.post_mlp_norm}, num_rows, state);
  return absl::OkStatus();
}

void Decoder::ApplyNorm(const NormWeights& norm, const float* input, int64_t num_rows,
                        float* output, const ForwardState& state) const {
  NormArgs args = {input,  num_rows,       spec_.hidden_size, norm.weight, spec_.norm_epsilon,
                   output, spec_.norm.kind};
  args.bias = norm.bias;
  state.backend->Norm(args);
}

const float* Decoder::InputOf(const NormWeights& norm, int64_t num_rows,
                              const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const float* residual = workspace.At(workspace.layout().residual);
  if (!spec_.pre_norm) return residual;
  float* normed = workspace.At(workspace.layout().normed);
  ApplyNorm(norm, residual, num_rows, normed, state);
  return normed;
}

void Decoder::NormResidual(const NormWeights& norm, int64_t num_rows,
                           const ForwardState& state) const {
  if (!spec_.residual_norm) return;
  float* residual = state.workspace->At(state.workspace->layout().residual);
  ApplyNorm(norm, residual, num_rows, residual, state);
}

void Decoder::AddSublayer(const Sublayer& sublayer, int64_t num_rows,
                          const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  ResidualArgs args;
  args.sum = sublayer.sum;
  args.bias = sublayer.bias;
  args.num_rows = num_rows;
  args.size = spec_.hidden_size;
  args.scale = spec_.residual_scale;
  args.residual = workspace.At(workspace.layout().residual);
  if (sublayer.post_norm != nullptr) {
    float* normed = workspace.At(workspace.layout().normed);
    ApplyNorm({sublayer.post_norm, nullptr}, sublayer.sum, num_rows, normed, state);
    args.sum = normed;
  }
  state.backend->AddToResidual(args);
}

void Decoder::PartialSums(const float* input, int64_t num_rows, const PackedMatrix& weights,
                          const SumOrder& order, float* roots, const ForwardState& state) const {
  ProductArgs args;
  args.input = input;
  args.num_rows = num_rows;
  args.weights = weights;
  args.lanes = order.lanes.data();
  args.num_lanes = static_cast<int64_t>(order.lanes.size());
  args.output = roots;
  args.root_stride = num_rows * spec_.hidden_size;
  state.backend->Product(args);
}

absl::StatusOr<const float*> Decoder::SumOverRanks(int64_t num_rows,
                                                   absl::Span<const ShardedSum* const> sums,
                                                   float* total, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const float* roots = workspace.At(workspace.layout().roots);
  if (plan_.layout.tp == 1) return roots;
  const int64_t count = num_rows * spec_.hidden_size;
  std::vector<SharedLanes> lanes;
  for (const ShardedSum* sum : sums) lanes.push_back(sum->lanes());
  if (!state.backend->memory().on_host()) {
    RETURN_IF_ERROR(DeviceSum({lanes, roots, count, total, workspace.device_sum()}, *state.backend,
                              *state.comms->tensor));
    return total;
  }
  std::vector<absl::Span<const float>> own;  // of all sums
  for (const ShardedSum* sum : sums) {
    for (int root = 0; root < sum->order.num_roots; ++root, roots += count) {
      own.emplace_back(roots, count);
    }
  }
  std::vector<LaneSumPart> parts;
  size_t first = 0;
  for (size_t s = 0; s < sums.size(); ++s) {
    const size_t num_roots = static_cast<size_t>(sums[s]->order.num_roots);
    parts.push_back({lanes[s], absl::MakeConstSpan(own).subspan(first, num_roots)});
    first += num_roots;
  }
  const size_t floats = static_cast<size_t>(count) * sums.size();
  RETURN_IF_ERROR(
      LaneSums(*state.comms->tensor, parts, absl::MakeSpan(total, floats), workspace.lane_sum()));
  return total;
}

}  // namespace tessera::worker
