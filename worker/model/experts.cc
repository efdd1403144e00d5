// Mixtures of experts: every token goes to some of them. Rows pass over the experts in chunks, for
// which partial sums are held for each lane of the rank; the order of every sum is that of rule 5
// in worker/README.md, whatever the chunks.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "shard_loader/status_macros.h"
#include "worker/model/decoder.h"

namespace tessera::worker {

using shard_loader::ExpertOrder;
using shard_loader::Range;

absl::StatusOr<const float*> Decoder::Experts(const LayerWeights& weights, const float* input,
                                              int64_t num_rows, const ForwardState& state) const {
  Workspace& workspace = *state.workspace;
  const shard_loader::WorkspaceLayout& layout = workspace.layout();
  const Routing routing = Route(weights, input, num_rows, state);
  RunExperts(weights, input, routing, num_rows, state);
  float* total = workspace.At(layout.branch);
  ASSIGN_OR_RETURN(const float* const sum, SumOverRanks(num_rows, moe_sum_, total, state));
  if (sum != total) std::memcpy(total, sum, num_rows * spec_.hidden_size * sizeof(float));
  for (size_t expert = 0; spec_.moe.bias && expert < routing.rows.size(); ++expert) {
    WeightedRowsArgs args;
    args.input = weights.expert_down_bias + expert * spec_.hidden_size;
    args.count = static_cast<int64_t>(routing.rows[expert].size());
    args.size = spec_.hidden_size;
    args.rows = routing.rows[expert].data();
    args.weights = routing.weights[expert].data();
    args.output = total;
    state.backend->AddWeightedRows(args);
  }
  if (spec_.moe.shared_columns > 0) {
    RETURN_IF_ERROR(AddShared(weights, input, num_rows, total, state));
  }
  return total;
}

Decoder::Routing Decoder::Route(const LayerWeights& weights, const float* input, int64_t num_rows,
                                const ForwardState& state) const {
  const int64_t experts = spec_.moe.num_experts;
  const shard_loader::WorkspaceLayout& layout = state.workspace->layout();
  float* logits = state.workspace->At(layout.router);
  Routing routing{std::vector<std::vector<int32_t>>(experts),
                  std::vector<std::vector<float>>(experts)};
  for (int64_t first = 0; first < num_rows; first += layout.expert_rows) {
    const int64_t count = std::min(layout.expert_rows, num_rows - first);
    ColumnParallel(input + first * spec_.hidden_size, count, weights.router, weights.router_bias,
                   logits, *state.backend);
    for (int64_t row = 0; row < count; ++row) {
      for (const ExpertChoice& choice :
           ChooseExperts(spec_.moe, logits + row * experts, weights.router_correction)) {
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
    std::fill_n(sums, lanes * layout.expert_rows * spec_.hidden_size, 0.0f);
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
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(gathered + i * hidden, input + rows[i] * hidden, hidden * sizeof(float));
  }
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

  int64_t lane = 0;  // among the rank's own: the first that the expert is in
  if (plan_.expert_order == ExpertOrder::kExperts) {
    while (plan_.moe.tree.lane(static_cast<int>(plan_.moe.lanes.begin + lane)).end <= expert) {
      ++lane;
    }
  }
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
      std::memcpy(roots + (lane.root * num_rows + first) * hidden, folded,
                  count * hidden * sizeof(float));
    }
    sum += layout.expert_rows * hidden;
  }
}

absl::Status Decoder::AddShared(const LayerWeights& weights, const float* input, int64_t num_rows,
                                float* output, const ForwardState& state) const {
  std::vector<float> gates;
  if (spec_.moe.shared_gate) {
    gates.resize(num_rows);
    ColumnParallel(input, num_rows, weights.shared_expert_gate, nullptr, gates.data(),
                   *state.backend);
    for (float& gate : gates) gate = Sigmoid(gate);
  }
  ASSIGN_OR_RETURN(const float* const sum,
                   Dense(weights.shared, shared_sum_, input, num_rows, state));
  if (gates.empty()) {
    state.backend->AddToResidual({sum, nullptr, num_rows, spec_.hidden_size, 1.0f, output});
    return absl::OkStatus();
  }
  std::vector<int32_t> rows(num_rows);
  std::iota(rows.begin(), rows.end(), 0);
  state.backend->AddWeightedRows(
      {sum, spec_.hidden_size, num_rows, spec_.hidden_size, rows.data(), gates.data(), output});
  return absl::OkStatus();
}

}  // namespace tessera::worker
