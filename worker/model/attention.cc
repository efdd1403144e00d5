// One layer's attention: queries, keys and values, their norms and rotations, and the product
// with the heads' outputs.
#include "shard_loader/status_macros.h"
#include "worker/model/decoder.h"
#include "worker/model/host_view.h"

namespace tessera::worker {
namespace {

using shard_loader::AttentionSpec;
using shard_loader::QkNorm;
using shard_loader::Range;
using shard_loader::RopeUse;

}  // namespace

absl::Status Decoder::Attention(int64_t layer, const float* input, const Batch& batch,
                                const ForwardState& state) const {
  const LayerWeights& weights = weights_->layers()[layer];
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const int64_t num_rows = batch.rows.num_rows;
  const int64_t model_layer = plan_.layers.begin + layer;
  RETURN_IF_ERROR(QueryKeyValue(weights, input, num_rows, state));

  const KvLayer cache = state.cache->layer(layer);
  const RopeUse use = spec_.attention.RopeOf(model_layer);
  RopeArgs rope;
  if (use != RopeUse::kNone) {
    rope.cosines = workspace.At(use == RopeUse::kMain ? layout.angles : layout.local_angles);
    rope.sines = rope.cosines + num_rows * (spec_.attention.rotary() / 2);
    rope.rotary_begin = spec_.attention.rotary_begin;
    rope.rotary_size = spec_.attention.rotary();
    rope.interleaved = spec_.attention.rope_interleaved;
  }
  rope.query = workspace.At(layout.query);
  rope.num_heads = plan_.heads.size();
  rope.key = workspace.At(layout.key);
  rope.value = workspace.At(layout.value);
  state.backend->RopeAndStore(batch.rows, rope, cache);

  AttentionArgs attention;
  attention.query = rope.query;
  attention.num_heads = plan_.heads.size();
  attention.kv_head_of = kv_head_of_.data();
  attention.scale = score_scale_;
  attention.window = spec_.attention.windows[model_layer];
  attention.output = workspace.At(layout.attention);
  attention.soft_cap = spec_.attention.soft_cap;
  attention.slopes = slopes_.empty() ? nullptr : slopes_.data();
  attention.sinks = weights.sinks;
  state.backend->Attend(batch.rows, attention, cache);
  PartialSums(attention.output, num_rows, weights.output, attention_sum_.order,
              workspace.At(layout.roots), state);
  return absl::OkStatus();
}

absl::Status Decoder::QueryKeyValue(const LayerWeights& weights, const float* input,
                                    int64_t num_rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  Backend& backend = *state.backend;
  const float* query_input = LatentQuery(weights, input, num_rows, state);
  ColumnParallel(query_input, num_rows, weights.query, weights.query_bias,
                 workspace.At(layout.query), backend);
  if (spec_.attention.latent.kv_rank > 0) {
    LatentKeyValue(weights, input, num_rows, state);
  } else {
    ColumnParallel(input, num_rows, weights.key, weights.key_bias, workspace.At(layout.key),
                   backend);
    ColumnParallel(input, num_rows, weights.value, weights.value_bias, workspace.At(layout.value),
                   backend);
  }
  return NormQueryKey(weights, num_rows, state);
}

// What queries are a product of.
const float* Decoder::LatentQuery(const LayerWeights& weights, const float* input, int64_t num_rows,
                                  const ForwardState& state) const {
  const shard_loader::LatentSpec& latent = spec_.attention.latent;
  if (latent.query_rank == 0) return input;
  float* query = state.workspace->At(state.workspace->layout().query_latent);
  ColumnParallel(input, num_rows, weights.query_down, nullptr, query, *state.backend);
  state.backend->Norm(
      {query, num_rows, latent.query_rank, weights.query_down_norm, latent.norm_epsilon, query});
  return query;
}

// Each head's key is its own product of the latent vector, then the part that all heads share.
void Decoder::LatentKeyValue(const LayerWeights& weights, const float* input, int64_t num_rows,
                             const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const AttentionSpec& attention = spec_.attention;
  Backend& backend = *state.backend;
  float* latent = workspace.At(layout.latent);
  float* shared = workspace.At(layout.key_rope);
  float* parts = workspace.At(layout.key_parts);
  ColumnParallel(input, num_rows, weights.latent_down, nullptr, latent, backend);
  backend.Norm({latent, num_rows, attention.latent.kv_rank, weights.latent_norm,
                attention.latent.norm_epsilon, latent});
  ColumnParallel(input, num_rows, weights.key_rope, nullptr, shared, backend);
  ColumnParallel(latent, num_rows, weights.key, nullptr, parts, backend);
  ColumnParallel(latent, num_rows, weights.value, nullptr, workspace.At(layout.value), backend);

  const int64_t rotary = attention.rotary();
  const int64_t own = attention.head_size - rotary;
  CopyRowsArgs copy;
  copy.from = parts;
  copy.from_stride = own;
  copy.to = workspace.At(layout.key);
  copy.to_stride = attention.head_size;
  copy.num_rows = num_rows * plan_.kv_heads.size();
  copy.size = own;
  backend.CopyRows(copy);
  copy.from = shared;
  copy.from_stride = rotary;
  copy.from_repeat = plan_.kv_heads.size();
  copy.to += own;
  copy.size = rotary;
  backend.CopyRows(copy);
}

absl::Status Decoder::NormQueryKey(const LayerWeights& weights, int64_t num_rows,
                                   const ForwardState& state) const {
  const AttentionSpec& attention = spec_.attention;
  if (attention.qk_norm == QkNorm::kNone) return absl::OkStatus();
  if (attention.qk_norm == QkNorm::kAllHeads) return NormAllHeads(weights, num_rows, state);
  Workspace& workspace = *state.workspace;
  const bool own = attention.qk_norm == QkNorm::kOwnPerHead;
  const auto norm = [&](const NormWeights& norm_weights, int64_t heads, float* rows) {
    NormArgs args = {
        rows, num_rows * heads,      attention.head_size, norm_weights.weight, spec_.norm_epsilon,
        rows, attention.qk_norm_kind};
    args.bias = norm_weights.bias;
    args.weight_rows = own ? heads : 1;
    state.backend->Norm(args);
  };
  norm(weights.query_norm, plan_.heads.size(), workspace.At(workspace.layout().query));
  norm(weights.key_norm, plan_.kv_heads.size(), workspace.At(workspace.layout().key));
  return absl::OkStatus();
}

// Each head's squares are summed where it is; all ranks then add those of all heads, ascending.
absl::Status Decoder::NormAllHeads(const LayerWeights& weights, int64_t num_rows,
                                   const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const AttentionSpec& attention = spec_.attention;
  const int64_t size = attention.head_size;
  float* query = workspace.At(workspace.layout().query);
  float* key = workspace.At(workspace.layout().key);
  // Of rank after rank: [num_rows, its heads], then [num_rows, its KV heads].
  float* next = workspace.At(workspace.layout().squares);
  float* const first = next;
  std::vector<const float*> query_squares(attention.num_heads);  // by head, of the first row
  std::vector<const float*> key_squares(attention.num_kv_heads);
  std::vector<int64_t> query_pitch(attention.num_heads), key_pitch(attention.num_kv_heads);
  std::vector<absl::Span<std::byte>> recv;
  for (int rank = 0; rank < plan_.layout.tp; ++rank) {
    const Range heads = plan_.attention_tree.Units(plan_.attention_lanes_by_rank[rank]);
    const Range kv_heads = shard_loader::KvHeadsOf(attention, heads);
    float* front = next;
    for (int64_t head = heads.begin; head < heads.end; ++head) {
      query_squares[head] = next + head - heads.begin;
      query_pitch[head] = heads.size();
    }
    next += num_rows * heads.size();
    for (int64_t head = kv_heads.begin; head < kv_heads.end; ++head) {
      key_squares[head] = next + head - kv_heads.begin;
      key_pitch[head] = kv_heads.size();
    }
    next += num_rows * kv_heads.size();
    recv.emplace_back(reinterpret_cast<std::byte*>(front), (next - front) * sizeof(float));
    if (rank != plan_.tp_index) continue;
    state.backend->SquareSums(query, num_rows * heads.size(), size, front);
    state.backend->SquareSums(key, num_rows * kv_heads.size(), size,
                              front + num_rows * heads.size());
  }
  if (plan_.layout.tp > 1) {
    RETURN_IF_ERROR(state.comms->tensor->AllGather(recv[plan_.tp_index], recv));
  }
  Memory& memory = state.backend->memory();
  HostView view(memory);
  ASSIGN_OR_RETURN(const float* const here, view.Bring(first, next - first));
  const auto norm = [&](const std::vector<const float*>& squares, const std::vector<int64_t>& pitch,
                        const NormWeights& norm_weights, Range heads, float* rows) {
    std::vector<float> sums(num_rows);
    for (int64_t row = 0; row < num_rows; ++row) {
      float sum = 0;
      for (size_t head = 0; head < squares.size(); ++head) {
        sum += here[squares[head] - first + row * pitch[head]];
      }
      sums[row] = sum;
    }
    memory.CopyIn(sums.data(), num_rows * static_cast<int64_t>(sizeof(float)), next);
    NormArgs args = {rows, num_rows * heads.size(), size, norm_weights.weight, spec_.norm_epsilon,
                     rows};
    args.weight_rows = heads.size();
    args.squares = next;
    args.sum_size = static_cast<int64_t>(squares.size()) * size;
    state.backend->Norm(args);
  };
  norm(query_squares, query_pitch, weights.query_norm, plan_.heads, query);
  norm(key_squares, key_pitch, weights.key_norm, plan_.kv_heads, key);
  return absl::OkStatus();
}

}  // namespace tessera::worker
