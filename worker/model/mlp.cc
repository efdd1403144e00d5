// One layer's MLP.
#include "shard_loader/status_macros.h"
#include "worker/model/decoder.h"

namespace tessera::worker {

absl::StatusOr<const float*> Decoder::Mlp(int64_t layer, const float* input, int64_t num_rows,
                                          const ForwardState& state) const {
  const LayerWeights& weights = weights_->layers()[layer];
  if (spec_.IsMoe(plan_.layers.begin + layer)) return Experts(weights, input, num_rows, state);
  return Dense(weights.mlp, mlp_sum_, input, num_rows, state);
}

absl::StatusOr<const float*> Decoder::Dense(const MlpWeights& weights, const ShardedSum& sum,
                                            const float* input, int64_t num_rows,
                                            const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  DensePartial(weights, sum, input, num_rows, workspace.At(workspace.layout().roots), state);
  return SumOverRanks(num_rows, {&sum}, workspace.At(workspace.layout().normed), state);
}

void Decoder::DensePartial(const MlpWeights& weights, const ShardedSum& sum, const float* input,
                           int64_t num_rows, float* roots, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  float* up = workspace.At(workspace.layout().up);
  float* activated = up;
  const int64_t size = num_rows * weights.up.rows;
  ColumnParallel(input, num_rows, weights.up, weights.up_bias, up, *state.backend);
  if (spec_.mlp.gated) {
    activated = workspace.At(workspace.layout().gate);
    ColumnParallel(input, num_rows, weights.gate, weights.gate_bias, activated, *state.backend);
    Activate(size, up, activated, state);
  } else {
    Activate(size, nullptr, up, state);
  }
  PartialSums(activated, num_rows, weights.down, sum.order, roots, state);
}

void Decoder::Activate(int64_t size, const float* up, float* gate,
                       const ForwardState& state) const {
  state.backend->Activate({spec_.mlp.activation, size, up, gate, spec_.mlp.activation_limit});
}

}  // namespace tessera::worker
