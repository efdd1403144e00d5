// Mixtures of experts: every token goes to some of them. Rows pass over the experts in chunks, for
// which partial sums are held for each lane of the rank; the order of every sum is that of rule 5
// in worker/README.md, whatever the chunks.
#include <algorithm>
#include <numeric>

#include "shard_loader/status_macros.h"
#include "worker/model/decoder.h"
#include "worker/model/host_view.h"

namespace tessera::worker {

using shard_loader::Range;

absl::StatusOr<const float*> Decoder::Experts(const LayerWeights& weights, const float* input,
                                              int64_t num_rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  Memory& memory = state.backend->memory();
  Routing routing;
  if (state.backend->mixture() != nullptr) {
    MixExperts(weights, input, num_rows, state);
  } else {
    ASSIGN_OR_RETURN(routing, Route(weights, input, num_rows, state));
    RunExperts(weights, input, routing, num_rows, state);
  }
  float* total = workspace.At(layout.branch);
  ASSIGN_OR_RETURN(const float* const sum, SumOverRanks(num_rows, {&moe_sum_}, total, state));
  if (sum != total) {
    memory.Copy(sum, num_rows * spec_.hidden_size * static_cast<int64_t>(sizeof(float)), total);
  }
  if (spec_.moe.bias) AddExpertBiases(weights, routing, num_rows, total, state);
  if (spec_.moe.shared_columns > 0) {
    RETURN_IF_ERROR(AddShared(weights, input, num_rows, total, state));
  }
  return total;
}

void Decoder::AddExpertBiases(const LayerWeights& weights, const Routing& routing, int64_t num_rows,
                              float* output, const ForwardState& state) const {
  const int64_t hidden = spec_.hidden_size;
  if (Mixture* const mixture = state.backend->mixture(); mixture != nullptr) {
    mixture->AddBiases(spec_.moe, weights.expert_down_bias, num_rows, hidden, output);
    return;
  }
  for (size_t expert = 0; expert < routing.rows.size(); ++expert) {
    WeightedRowsArgs args;
    args.input = weights.expert_down_bias + expert * hidden;
    args.count = static_cast<int64_t>(routing.rows[expert].size());
    args.size = hidden;
    args.rows = routing.rows[expert].data();
    args.weights = routing.weights[expert].data();
    args.output = output;
    state.backend->AddWeightedRows(args);
  }
}

// Chosen on the host, in double: a device's logits are brought there, and what corrects them.
absl::StatusOr<Decoder::Routing> Decoder::Route(const LayerWeights& weights, const float* input,
                                                int64_t num_rows, const ForwardState& state) const {
  const int64_t experts = spec_.moe.num_experts;
  const shard_loader::WorkspaceLayout& layout = state.workspace->layout();
  float* router = state.workspace->At(layout.router);
  HostView view(state.backend->memory());
  HostView correction_view(state.backend->memory());
  const float* correction = weights.router_correction;
  if (correction != nullptr) {
    ASSIGN_OR_RETURN(correction, correction_view.Bring(correction, experts));
  }
  Routing routing{std::vector<std::vector<int32_t>>(experts),
                  std::vector<std::vector<float>>(experts)};
  for (int64_t first = 0; first < num_rows; first += layout.expert_rows) {
    const int64_t count = std::min(layout.expert_rows, num_rows - first);
    ColumnParallel(input + first * spec_.hidden_size, count, weights.router, weights.router_bias,
                   router, *state.backend);
    ASSIGN_OR_RETURN(const float* const logits, view.Bring(router, count * experts));
    for (int64_t row = 0; row < count; ++row) {
      for (const ExpertChoice& choice :
           ChooseExperts(spec_.moe, logits + row * experts, correction)) {
        routing.rows[choice.expert].push_back(static_cast<int32_t>(first + row));
        routing.weights[choice.expert].push_back(choice.weight);
      }
    }
  }
  return routing;
}

// Leaves the partial sums of the rank's lanes in the workspace's roots.
void Decoder::RunExperts(const LayerWeights& weights, const float* input, const Routing& routing,
                         int64_t num_rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  float* sums = workspace.At(layout.expert_sums);
  const int64_t lanes = plan_.moe.lanes.size();
  for (int64_t first = 0; first < num_rows; first += layout.expert_rows) {
    const int64_t count = std::min(layout.expert_rows, num_rows - first);
    state.backend->memory().Zero(
        sums, lanes * layout.expert_rows * spec_.hidden_size * static_cast<int64_t>(sizeof(float)));
    for (int64_t expert = plan_.experts.begin; expert < plan_.experts.end; ++expert) {
      const std::vector<int32_t>& rows = routing.rows[expert];
      const auto begin = std::lower_bound(rows.begin(), rows.end(), first) - rows.begin();
      const auto end = std::lower_bound(rows.begin(), rows.end(), first + count) - rows.begin();
      if (begin == end) continue;
      std::vector<int32_t> own(rows.begin() + begin, rows.begin() + end);
      for (int32_t& row : own) row -= static_cast<int32_t>(first);
      RunExpert(expert, weights.experts[expert - plan_.experts.begin],
                input + first * spec_.hidden_size, own,
                absl::MakeConstSpan(routing.weights[expert]).subspan(begin, end - begin), state);
    }
    FoldExpertLanes(first, count, num_rows, state);
  }
}

// Adds the expert's weighted output for `rows` of `input` to the sums of its lanes.
void Decoder::RunExpert(int64_t expert, const MlpWeights& weights, const float* input,
                        absl::Span<const int32_t> rows, absl::Span<const float> row_weights,
                        const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const int64_t hidden = spec_.hidden_size;
  const int64_t count = static_cast<int64_t>(rows.size());
  float* gathered = workspace.At(layout.expert_input);
  CopyRowsArgs copy;
  copy.from = input;
  copy.from_stride = hidden;
  copy.from_rows = rows.data();
  copy.to = gathered;
  copy.to_stride = hidden;
  copy.num_rows = count;
  copy.size = hidden;
  state.backend->CopyRows(copy);
  float* gate = workspace.At(layout.expert_gate);
  float* up = workspace.At(layout.expert_up);
  ColumnParallel(gathered, count, weights.gate, weights.gate_bias, gate, *state.backend);
  ColumnParallel(gathered, count, weights.up, weights.up_bias, up, *state.backend);
  Activate(count * weights.up.rows, up, gate, state);

  ProductArgs product;
  product.input = gate;
  product.num_rows = count;
  product.weights = weights.down;
  product.lanes = expert_lanes_.data();
  product.num_lanes = static_cast<int64_t>(expert_lanes_.size());
  product.output = workspace.At(layout.expert_parts);
  product.root_stride = count * hidden;
  state.backend->Product(product);

  // Among the rank's own: the first that the expert is in.
  const int64_t lane = lane_of_expert_.empty() ? 0 : lane_of_expert_[expert - plan_.experts.begin];
  WeightedRowsArgs add;
  add.input_stride = hidden;
  add.count = count;
  add.size = hidden;
  add.rows = rows.data();
  add.weights = row_weights.data();
  for (int64_t part = 0; part < product.num_lanes; ++part) {
    add.input = product.output + part * product.root_stride;
    add.output = workspace.At(layout.expert_sums) + (lane + part) * layout.expert_rows * hidden;
    state.backend->AddWeightedRows(add);
  }
}

// Rows [first, first + count) of the roots, from the sums of the rank's lanes.
void Decoder::FoldExpertLanes(int64_t first, int64_t count, int64_t num_rows,
                              const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const int64_t hidden = spec_.hidden_size;
  float* roots = workspace.At(layout.roots);
  float* sum = workspace.At(layout.expert_sums);
  std::vector<float*> waiting;
  for (const SumLane& lane : moe_sum_.order.lanes) {
    float* folded = sum;
    for (int fold = 0; fold < lane.folds; ++fold) {
      state.backend->AddToResidual({folded, nullptr, count, hidden, 1.0f, waiting.back()});
      folded = waiting.back();
      waiting.pop_back();
    }
    if (lane.root < 0) {
      waiting.push_back(folded);
    } else {
      state.backend->memory().Copy(folded, count * hidden * static_cast<int64_t>(sizeof(float)),
                                   roots + (lane.root * num_rows + first) * hidden);
    }
    sum += layout.expert_rows * hidden;
  }
}

absl::Status Decoder::AddShared(const LayerWeights& weights, const float* input, int64_t num_rows,
                                float* output, const ForwardState& state) const {
  float* const products = state.workspace->At(state.workspace->layout().shared_gate);
  if (spec_.moe.shared_gate) {
    ColumnParallel(input, num_rows, weights.shared_expert_gate, nullptr, products, *state.backend);
  }
  ASSIGN_OR_RETURN(const float* const sum,
                   Dense(weights.shared, shared_sum_, input, num_rows, state));
  if (!spec_.moe.shared_gate) {
    state.backend->AddToResidual({sum, nullptr, num_rows, spec_.hidden_size, 1.0f, output});
    return absl::OkStatus();
  }
  if (Mixture* const mixture = state.backend->mixture(); mixture != nullptr) {
    mixture->AddGated(products, sum, num_rows, spec_.hidden_size, output);
    return absl::OkStatus();
  }
  HostView view(state.backend->memory());
  ASSIGN_OR_RETURN(const float* const here, view.Bring(products, num_rows));
  std::vector<float> gates;
  for (int64_t row = 0; row < num_rows; ++row) gates.push_back(Sigmoid(here[row]));
  std::vector<int32_t> rows(num_rows);
  std::iota(rows.begin(), rows.end(), 0);
  state.backend->AddWeightedRows(
      {sum, spec_.hidden_size, num_rows, spec_.hidden_size, rows.data(), gates.data(), output});
  return absl::OkStatus();
}

}  // namespace tessera::worker
