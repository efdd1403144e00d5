#include "worker/model/decoder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "shard_loader/status_macros.h"
#include "worker/comm/lane_sum.h"
#include "worker/model/residual_trace.h"

namespace tessera::worker {
namespace {

using shard_loader::LaneTree;
using shard_loader::Range;

absl::Span<std::byte> BytesOf(float* data, int64_t count) {
  return {reinterpret_cast<std::byte*>(data), static_cast<size_t>(count) * sizeof(float)};
}

// The rank of the same tp_index `stages` further on.
int NeighbourStage(const shard_loader::RankPlan& plan, int stages) {
  return plan.rank + stages * plan.layout.tp;
}

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

}  // namespace

Decoder::Decoder(const shard_loader::DecoderSpec& spec, const shard_loader::RankPlan& plan,
                 std::unique_ptr<const Weights> weights)
    : spec_(spec),
      plan_(plan),
      weights_(std::move(weights)),
      rope_(spec.rope, spec.attention.head_size),
      attention_sum_{
          SumOrder::Lanes(plan.attention_tree, plan.attention_lanes, spec.attention.head_size),
          plan.attention_tree, plan.attention_lanes_by_rank},
      mlp_sum_{SumOrder::Lanes(plan.mlp_tree, plan.mlp_lanes, 1), plan.mlp_tree,
               plan.mlp_lanes_by_rank} {
  const int64_t group = spec.attention.num_heads / spec.attention.num_kv_heads;
  for (int64_t head = plan.heads.begin; head < plan.heads.end; ++head) {
    kv_head_of_.push_back(static_cast<int32_t>(head / group - plan.kv_heads.begin));
  }
}

absl::Status Decoder::Forward(const Batch& batch, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const int64_t num_rows = batch.rows.num_rows;
  float* residual = workspace.At(layout.residual);
  const absl::Span<std::byte> hidden = BytesOf(residual, num_rows * spec_.hidden_size);
  if (plan_.has_embedding) {
    RETURN_IF_ERROR(Embed(batch, state));
    if (state.trace != nullptr) state.trace->Layer(-1, batch.rows, residual, spec_.hidden_size);
  } else {
    RETURN_IF_ERROR(state.comms->group->Recv(NeighbourStage(plan_, -1), batch.step, hidden));
  }
  float* cosines = workspace.At(layout.angles);
  rope_.FillAngles(batch.rows.positions, num_rows, cosines,
                   cosines + num_rows * (spec_.attention.head_size / 2));
  for (int64_t layer = 0; layer < plan_.layers.size(); ++layer) {
    RETURN_IF_ERROR(Attention(layer, batch, state));
    RETURN_IF_ERROR(Mlp(layer, num_rows, state));
    state.layers_done->fetch_add(1, std::memory_order_relaxed);
    if (state.trace == nullptr) continue;
    state.trace->Layer(plan_.layers.begin + layer, batch.rows, residual, spec_.hidden_size);
  }
  if (plan_.has_head) return absl::OkStatus();
  return state.comms->group->Send(NeighbourStage(plan_, 1), batch.step, hidden);
}

absl::Status Decoder::Embed(const Batch& batch, const ForwardState& state) const {
  if (plan_.layout.tp > 1) return EmbedSharded(batch, state);
  const std::vector<int64_t> ids(batch.ids, batch.ids + batch.rows.num_rows);
  state.backend->EmbedRows(weights_->embedding(), ids.data(), batch.rows.num_rows,
                           state.workspace->At(state.workspace->layout().residual));
  return absl::OkStatus();
}

// Every rank copies the rows that it holds, side by side; the parts of all ranks are gathered and
// put where the batch has them.
absl::Status Decoder::EmbedSharded(const Batch& batch, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const int64_t hidden = spec_.hidden_size;
  std::vector<std::vector<int64_t>> rows_of(plan_.layout.tp);
  for (int64_t row = 0; row < batch.rows.num_rows; ++row) {
    int rank = 0;
    while (batch.ids[row] >= plan_.vocab_by_rank[rank].end) ++rank;
    rows_of[rank].push_back(row);
  }
  float* next = workspace.At(workspace.layout().roots);
  std::vector<float*> part(plan_.layout.tp);
  std::vector<absl::Span<std::byte>> recv;
  for (int rank = 0; rank < plan_.layout.tp; ++rank) {
    const int64_t count = static_cast<int64_t>(rows_of[rank].size()) * hidden;
    part[rank] = next;
    recv.push_back(BytesOf(next, count));
    next += count;
  }
  std::vector<int64_t> own;
  for (int64_t row : rows_of[plan_.tp_index]) own.push_back(batch.ids[row] - plan_.vocab.begin);
  state.backend->EmbedRows(weights_->embedding(), own.data(), own.size(), part[plan_.tp_index]);
  RETURN_IF_ERROR(state.comms->tensor->AllGather(recv[plan_.tp_index], recv));

  float* residual = workspace.At(workspace.layout().residual);
  for (int rank = 0; rank < plan_.layout.tp; ++rank) {
    for (size_t i = 0; i < rows_of[rank].size(); ++i) {
      std::memcpy(residual + rows_of[rank][i] * hidden, part[rank] + i * hidden,
                  hidden * sizeof(float));
    }
  }
  return absl::OkStatus();
}

void Decoder::QueryKeyValue(const LayerWeights& weights, int64_t num_rows,
                            const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  Backend& backend = *state.backend;
  const float* input = workspace.At(layout.normed);
  float* query = workspace.At(layout.query);
  float* key = workspace.At(layout.key);
  ColumnParallel(input, num_rows, weights.query, weights.query_bias, query, backend);
  ColumnParallel(input, num_rows, weights.key, weights.key_bias, key, backend);
  ColumnParallel(input, num_rows, weights.value, weights.value_bias, workspace.At(layout.value),
                 backend);
  if (weights.query_norm == nullptr) return;
  const int64_t size = spec_.attention.head_size;
  backend.Norm(
      {query, num_rows * plan_.heads.size(), size, weights.query_norm, spec_.norm_epsilon, query});
  backend.Norm(
      {key, num_rows * plan_.kv_heads.size(), size, weights.key_norm, spec_.norm_epsilon, key});
}

absl::Status Decoder::Attention(int64_t layer, const Batch& batch,
                                const ForwardState& state) const {
  const LayerWeights& weights = weights_->layers()[layer];
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const int64_t num_rows = batch.rows.num_rows;
  state.backend->Norm({workspace.At(layout.residual), num_rows, spec_.hidden_size,
                       weights.attention_norm, spec_.norm_epsilon, workspace.At(layout.normed)});
  QueryKeyValue(weights, num_rows, state);

  const KvLayer cache = state.cache->layer(layer);
  RopeArgs rope;
  rope.cosines = workspace.At(layout.angles);
  rope.sines = rope.cosines + num_rows * (spec_.attention.head_size / 2);
  rope.rotary_size = spec_.attention.head_size;
  rope.query = workspace.At(layout.query);
  rope.num_heads = plan_.heads.size();
  rope.key = workspace.At(layout.key);
  rope.value = workspace.At(layout.value);
  state.backend->RopeAndStore(batch.rows, rope, cache);

  AttentionArgs attention;
  attention.query = rope.query;
  attention.num_heads = plan_.heads.size();
  attention.kv_head_of = kv_head_of_.data();
  attention.scale = spec_.attention.scale;
  attention.window = spec_.attention.windows[plan_.layers.begin + layer];
  attention.output = workspace.At(layout.attention);
  state.backend->Attend(batch.rows, attention, cache);
  return AddRowParallel(attention.output, num_rows,
                        {weights.output, weights.output_bias, attention_sum_}, state);
}

absl::Status Decoder::Mlp(int64_t layer, int64_t num_rows, const ForwardState& state) const {
  const LayerWeights& weights = weights_->layers()[layer];
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  Backend& backend = *state.backend;
  float* normed = workspace.At(layout.normed);
  backend.Norm({workspace.At(layout.residual), num_rows, spec_.hidden_size, weights.mlp_norm,
                spec_.norm_epsilon, normed});
  float* gate = workspace.At(layout.gate);
  float* up = workspace.At(layout.up);
  ColumnParallel(normed, num_rows, weights.gate, weights.gate_bias, gate, backend);
  ColumnParallel(normed, num_rows, weights.up, weights.up_bias, up, backend);
  backend.Activate({spec_.mlp.activation, num_rows * plan_.mlp_columns.size(), up, gate});
  return AddRowParallel(gate, num_rows, {weights.down, weights.down_bias, mlp_sum_}, state);
}

absl::Status Decoder::AddRowParallel(const float* input, int64_t num_rows,
                                     const RowParallel& product, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const SumOrder& order = product.sum.order;
  const int64_t count = num_rows * spec_.hidden_size;
  float* roots = workspace.At(layout.roots);
  ProductArgs args;
  args.input = input;
  args.num_rows = num_rows;
  args.weights = product.weights;
  args.lanes = order.lanes.data();
  args.num_lanes = static_cast<int64_t>(order.lanes.size());
  args.output = roots;
  args.root_stride = count;
  state.backend->Product(args);

  const float* sum = roots;  // the root of the whole tree, where one rank has all lanes
  if (plan_.layout.tp > 1) {
    std::vector<absl::Span<const float>> own;
    for (int root = 0; root < order.num_roots; ++root) {
      own.emplace_back(roots + root * count, count);
    }
    float* total = workspace.At(layout.normed);
    RETURN_IF_ERROR(LaneSum(*state.comms->tensor, product.sum.tree, product.sum.lanes_by_rank, own,
                            absl::MakeSpan(total, count), workspace.lane_sum()));
    sum = total;
  }
  state.backend->AddToResidual(
      {sum, product.bias, num_rows, spec_.hidden_size, 1.0f, workspace.At(layout.residual)});
  return absl::OkStatus();
}

absl::Status Decoder::Logits(absl::Span<const int32_t> rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const int64_t hidden = spec_.hidden_size;
  const int64_t num_rows = static_cast<int64_t>(rows.size());
  const float* residual = workspace.At(layout.residual);
  float* input = workspace.At(layout.logit_input);
  for (int64_t i = 0; i < num_rows; ++i) {
    std::memcpy(input + i * hidden, residual + rows[i] * hidden, hidden * sizeof(float));
  }
  state.backend->Norm({input, num_rows, hidden, weights_->final_norm(), spec_.norm_epsilon, input});
  const bool whole = plan_.layout.tp == 1;
  float* output = workspace.At(whole ? layout.logits : layout.shard_logits);
  ColumnParallel(input, num_rows, weights_->head(), nullptr, output, *state.backend);
  return whole ? absl::OkStatus() : GatherLogits(num_rows, state);
}

// Copies every rank's columns to tp_index 0.
absl::Status Decoder::GatherLogits(int64_t num_rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const int tp = plan_.layout.tp;
  const bool draws = plan_.tp_index == 0;
  std::vector<absl::Span<const std::byte>> send(tp);
  std::vector<absl::Span<std::byte>> recv(tp);
  send[0] = BytesOf(workspace.At(layout.shard_logits), num_rows * plan_.vocab.size());
  float* part = workspace.At(layout.rank_logits);
  for (int rank = 0; draws && rank < tp; ++rank) {
    const int64_t count = num_rows * plan_.vocab_by_rank[rank].size();
    recv[rank] = BytesOf(part, count);
    part += count;
  }
  RETURN_IF_ERROR(state.comms->tensor->AllToAll(send, recv));
  if (!draws) return absl::OkStatus();

  float* logits = workspace.At(layout.logits);
  const float* from = workspace.At(layout.rank_logits);
  for (const Range& vocab : plan_.vocab_by_rank) {
    for (int64_t row = 0; row < num_rows; ++row) {
      std::memcpy(logits + row * spec_.vocab_size + vocab.begin, from,
                  vocab.size() * sizeof(float));
      from += vocab.size();
    }
  }
  return absl::OkStatus();
}

}  // namespace tessera::worker
