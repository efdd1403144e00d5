// The first stage's rows: embeddings of ids and positions.
#include <algorithm>

#include "shard_loader/status_macros.h"
#include "worker/model/decoder.h"

namespace tessera::worker {
namespace {

absl::Span<std::byte> BytesOf(float* data, int64_t count) {
  return {reinterpret_cast<std::byte*>(data), static_cast<size_t>(count) * sizeof(float)};
}

}  // namespace

absl::Status Decoder::Embed(const Batch& batch, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const int64_t num_rows = batch.rows.num_rows;
  float* residual = workspace.At(workspace.layout().residual);
  const bool projects = spec_.embedding_size > 0;
  float* embedded = projects ? workspace.At(workspace.layout().embedded) : residual;
  if (plan_.layout.tp > 1) {
    RETURN_IF_ERROR(EmbedSharded(batch, embedded, state));
  } else {
    EmbedIds(batch.ids, num_rows, embedded, state);
  }
  if (projects) {
    ColumnParallel(embedded, num_rows, weights_->embedding_project(), nullptr, residual,
                   *state.backend);
  }
  if (spec_.embedding_scale != 1.0f) {
    state.backend->ScaleAndCap(spec_.embedding_scale, 0.0f, num_rows * spec_.hidden_size, residual);
  }
  if (spec_.num_position_rows > 0) AddPositions(batch.rows, state);
  if (spec_.embedding_norm) {
    ApplyNorm(weights_->embedding_norm(), residual, num_rows, residual, state);
  }
  return absl::OkStatus();
}

void Decoder::EmbedIds(const uint32_t* ids, int64_t num_rows, float* output,
                       const ForwardState& state) const {
  std::vector<int64_t> rows(ids, ids + num_rows);
  for (int64_t& row : rows) {
    if (row >= kDrawnIds) row = DrawnId(row - kDrawnIds);
  }
  state.backend->EmbedRows(weights_->embedding(), rows.data(), num_rows, output);
}

// Every rank copies the rows that it holds, side by side; the parts of all ranks are gathered and
// put where the batch has them.
absl::Status Decoder::EmbedSharded(const Batch& batch, float* output,
                                   const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const int64_t size = spec_.embedding();
  std::vector<std::vector<int32_t>> rows_of(plan_.layout.tp);
  for (int64_t row = 0; row < batch.rows.num_rows; ++row) {
    int rank = 0;
    while (batch.ids[row] >= plan_.vocab_by_rank[rank].end) ++rank;
    rows_of[rank].push_back(static_cast<int32_t>(row));
  }
  float* next = workspace.At(workspace.layout().roots);
  std::vector<float*> part(plan_.layout.tp);
  std::vector<absl::Span<std::byte>> recv;
  for (int rank = 0; rank < plan_.layout.tp; ++rank) {
    const int64_t count = static_cast<int64_t>(rows_of[rank].size()) * size;
    part[rank] = next;
    recv.push_back(BytesOf(next, count));
    next += count;
  }
  std::vector<int64_t> own;
  for (int32_t row : rows_of[plan_.tp_index]) own.push_back(batch.ids[row] - plan_.vocab.begin);
  state.backend->EmbedRows(weights_->embedding(), own.data(), own.size(), part[plan_.tp_index]);
  RETURN_IF_ERROR(state.comms->tensor->AllGather(recv[plan_.tp_index], recv));

  for (int rank = 0; rank < plan_.layout.tp; ++rank) {
    CopyRowsArgs copy;
    copy.from = part[rank];
    copy.from_stride = size;
    copy.to = output;
    copy.to_stride = size;
    copy.to_rows = rows_of[rank].data();
    copy.num_rows = static_cast<int64_t>(rows_of[rank].size());
    copy.size = size;
    state.backend->CopyRows(copy);
  }
  return absl::OkStatus();
}

void Decoder::AddPositions(const RowTable& rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  std::vector<int64_t> positions;
  for (int64_t row = 0; row < rows.num_rows; ++row) {
    // Padding has the first row, which nobody reads.
    positions.push_back(std::max(0, rows.positions[row]) + spec_.position_offset);
  }
  float* learned = workspace.At(workspace.layout().normed);
  state.backend->EmbedRows(weights_->position_embedding(), positions.data(), rows.num_rows,
                           learned);
  state.backend->AddToResidual({learned, nullptr, rows.num_rows, spec_.hidden_size, 1.0f,
                                workspace.At(workspace.layout().residual)});
}

}  // namespace tessera::worker
