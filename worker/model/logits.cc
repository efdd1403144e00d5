// The last stage's logits.
#include "shard_loader/status_macros.h"
#include "worker/model/decoder.h"

namespace tessera::worker {
namespace {

absl::Span<std::byte> BytesOf(float* data, int64_t count) {
  return {reinterpret_cast<std::byte*>(data), static_cast<size_t>(count) * sizeof(float)};
}

}  // namespace

absl::Status Decoder::Logits(absl::Span<const int32_t> rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const int64_t hidden = spec_.hidden_size;
  const int64_t num_rows = static_cast<int64_t>(rows.size());
  const float* residual = workspace.At(layout.residual);
  float* input = workspace.At(layout.logit_input);
  CopyRowsArgs copy;
  copy.from = residual;
  copy.from_stride = hidden;
  copy.from_rows = rows.data();
  copy.to = input;
  copy.to_stride = hidden;
  copy.num_rows = num_rows;
  copy.size = hidden;
  state.backend->CopyRows(copy);
  if (spec_.final_norm) ApplyNorm(weights_->final_norm(), input, num_rows, input, state);
  if (spec_.embedding_size > 0) {
    float* projected = workspace.At(layout.logit_project);
    ColumnParallel(input, num_rows, weights_->head_project(), nullptr, projected, *state.backend);
    input = projected;
  }
  const bool whole = plan_.layout.tp == 1;
  float* output = workspace.At(whole ? layout.logits : layout.shard_logits);
  ColumnParallel(input, num_rows, weights_->head(), weights_->head_bias(), output, *state.backend);
  if (spec_.logit_scale != 1.0f || spec_.logit_soft_cap > 0) {
    state.backend->ScaleAndCap(spec_.logit_scale, spec_.logit_soft_cap,
                               num_rows * plan_.vocab.size(), output);
  }
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
  for (const shard_loader::Range& vocab : plan_.vocab_by_rank) {
    CopyRowsArgs copy;
    copy.from = from;
    copy.from_stride = vocab.size();
    copy.to = logits + vocab.begin;
    copy.to_stride = spec_.vocab_size;
    copy.num_rows = num_rows;
    copy.size = vocab.size();
    state.backend->CopyRows(copy);
    from += num_rows * vocab.size();
  }
  return absl::OkStatus();
}

}  // namespace tessera::worker
