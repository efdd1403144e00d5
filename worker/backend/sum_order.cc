#include "worker/backend/backend.h"

namespace tessera::worker {
namespace {

using shard_loader::LaneTree;
using shard_loader::Range;

// Appends the leaves of `node` in order; the last of them folds once for every inner node that it
// completes.
void AppendSubtree(const LaneTree& tree, int node, int64_t first_unit, int64_t unit_columns,
                   std::vector<SumLane>* lanes) {
  const shard_loader::LaneNode& at = tree.nodes()[node];
  if (at.left < 0) {
    const Range units = tree.lane(static_cast<int>(at.lanes.begin));
    SumLane lane;
    lane.begin = (units.begin - first_unit) * unit_columns;
    lane.end = (units.end - first_unit) * unit_columns;
    lanes->push_back(lane);
    return;
  }
  AppendSubtree(tree, at.left, first_unit, unit_columns, lanes);
  AppendSubtree(tree, at.right, first_unit, unit_columns, lanes);
  ++lanes->back().folds;
}

}  // namespace

SumOrder SumOrder::Whole(int64_t columns) {
  SumOrder order;
  order.lanes = {SumLane{0, columns, 0, 0}};
  order.num_roots = 1;
  return order;
}

SumOrder SumOrder::Lanes(const LaneTree& tree, Range owned, int64_t unit_columns) {
  SumOrder order;
  const int64_t first_unit = tree.Units(owned).begin;
  for (int node : tree.MaximalSubtrees(owned)) {
    AppendSubtree(tree, node, first_unit, unit_columns, &order.lanes);
    order.lanes.back().root = order.num_roots++;
  }
  return order;
}

}  // namespace tessera::worker
