// Experts where the backend has a mixture of its own: the order of experts.cc, without the host.
#include <algorithm>

#include "worker/model/decoder.h"

namespace tessera::worker {
namespace {

ExpertMatrices MatricesOf(const std::vector<MlpWeights>& experts, PackedMatrix MlpWeights::*matrix,
                          const float* MlpWeights::*bias) {
  ExpertMatrices matrices;
  matrices.first = experts.front().*matrix;
  matrices.bias = experts.front().*bias;
  if (experts.size() == 1) return matrices;
  matrices.stride = (experts[1].*matrix).data - matrices.first.data;
  if (matrices.bias != nullptr) matrices.bias_stride = experts[1].*bias - matrices.bias;
  return matrices;
}

}  // namespace

void Decoder::MixExperts(const LayerWeights& weights, const float* input, int64_t num_rows,
                         const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  Mixture& mixture = *state.backend->mixture();
  ExpertsArgs run;
  run.moe = &spec_.moe;
  run.experts = plan_.experts;
  run.gate = MatricesOf(weights.experts, &MlpWeights::gate, &MlpWeights::gate_bias);
  run.up = MatricesOf(weights.experts, &MlpWeights::up, &MlpWeights::up_bias);
  run.down = MatricesOf(weights.experts, &MlpWeights::down, &MlpWeights::down_bias);
  run.activation = spec_.mlp.activation;
  run.activation_limit = spec_.mlp.activation_limit;
  run.lanes = expert_lanes_.data();
  run.num_lanes = static_cast<int64_t>(expert_lanes_.size());
  run.sum_of = lane_of_expert_.empty() ? nullptr : lane_of_expert_.data();
  run.num_sums = plan_.moe.lanes.size();
  run.sums = workspace.At(layout.expert_sums);
  run.sum_stride = layout.expert_rows * spec_.hidden_size;
  RouteArgs route;
  route.moe = &spec_.moe;
  route.step_rows = num_rows;
  route.correction = weights.router_correction;
  route.logits = workspace.At(layout.router);
  for (int64_t first = 0; first < num_rows; first += layout.expert_rows) {
    const int64_t count = std::min(layout.expert_rows, num_rows - first);
    const float* rows = input + first * spec_.hidden_size;
    ColumnParallel(rows, count, weights.router, weights.router_bias, workspace.At(layout.router),
                   *state.backend);
    route.first_row = run.first_row = first;
    route.num_rows = run.num_rows = count;
    mixture.Route(route);
    run.input = rows;
    mixture.Run(run);
    FoldExpertLanes(first, count, num_rows, state);
  }
}

}  // namespace tessera::worker
