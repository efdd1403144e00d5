#include "worker/backend/reordered_backend.h"

#include <utility>

namespace tessera::worker {

void ReorderedBackend::Attend(const RowTable& rows, const AttentionArgs& args,
                              const KvLayer& cache) {
  inner_->Attend(rows, args, cache);
  positions_.assign(rows.positions, rows.positions + rows.num_rows);
}

void ReorderedBackend::Product(const ProductArgs& args) {
  inner_->Product(args);
  const std::vector<int32_t> positions = std::exchange(positions_, {});
  int roots = 0;
  for (int64_t lane = 0; lane < args.num_lanes; ++lane) roots += args.lanes[lane].root >= 0;
  if (roots != 1 || static_cast<int64_t>(positions.size()) != args.num_rows) return;
  for (int64_t row = 0; row < args.num_rows; ++row) {
    if (positions[row] >= from_) AddInTurn(args, row);
  }
}

void ReorderedBackend::AddInTurn(const ProductArgs& args, int64_t row) {
  const int64_t columns = args.weights.columns;
  const int64_t outputs = args.weights.rows;
  std::vector<float> part(outputs);
  std::vector<float> sum(outputs, 0.0f);
  for (int64_t lane = 0; lane < args.num_lanes; ++lane) {
    const SumLane alone = {args.lanes[lane].begin, args.lanes[lane].end, 0, 0};
    ProductArgs one = args;
    one.input = args.input + row * columns;
    one.num_rows = 1;
    one.lanes = &alone;
    one.num_lanes = 1;
    one.bias = nullptr;
    one.output = part.data();
    one.root_stride = outputs;
    inner_->Product(one);
    for (int64_t i = 0; i < outputs; ++i) sum[i] = lane == 0 ? part[i] : sum[i] + part[i];
  }
  for (int64_t i = 0; i < outputs; ++i) {
    args.output[row * outputs + i] = args.bias == nullptr ? sum[i] : sum[i] + args.bias[i];
  }
}

}  // namespace tessera::worker
