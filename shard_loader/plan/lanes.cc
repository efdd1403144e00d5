#include "shard_loader/plan/lanes.h"

#include <algorithm>

#include "shard_loader/plan/rounding.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kColumnBlock = 64;
constexpr int64_t kLeastBlocks = 8;

// Where [begin, end) is cut. A slice of an even number of whole KV groups has a group border in its
// very middle, so the cut "between groups" and the cut in halves are the same arithmetic.
int64_t Middle(Range slice) { return slice.begin + CeilDiv(slice.size(), 2); }

// Appends the tree of `slice` to `nodes` and its leaves to `lanes`; returns its root.
int Bisect(Range slice, int depth, std::vector<Range>& lanes, std::vector<LaneNode>& nodes) {
  const int index = static_cast<int>(nodes.size());
  nodes.emplace_back();
  const auto first = static_cast<int64_t>(lanes.size());
  if (depth == 0 || slice.size() <= 1) {
    lanes.push_back(slice);
  } else {
    const int64_t middle = Middle(slice);
    const int left = Bisect({slice.begin, middle}, depth - 1, lanes, nodes);
    const int right = Bisect({middle, slice.end}, depth - 1, lanes, nodes);
    nodes[index].left = left;
    nodes[index].right = right;
  }
  nodes[index].lanes = {first, static_cast<int64_t>(lanes.size())};
  return index;
}

int Depth(int num_lanes) {
  int depth = 0;
  while ((int64_t{1} << (depth + 1)) <= num_lanes) ++depth;
  return depth;
}

void CollectMaximal(const std::vector<LaneNode>& nodes, int index, Range wanted,
                    std::vector<int>& found) {
  const LaneNode& node = nodes[index];
  if (node.lanes.end <= wanted.begin || node.lanes.begin >= wanted.end) return;
  if (node.lanes.begin >= wanted.begin && node.lanes.end <= wanted.end) {
    found.push_back(index);
    return;
  }
  CollectMaximal(nodes, node.left, wanted, found);
  CollectMaximal(nodes, node.right, wanted, found);
}

}  // namespace

LaneTree LaneTree::ForHeads(int64_t num_heads, int64_t /*num_kv_heads*/, int num_lanes) {
  LaneTree tree;
  Bisect({0, num_heads}, Depth(num_lanes), tree.lanes_, tree.nodes_);
  return tree;
}

LaneTree LaneTree::ForExperts(int64_t num_experts, int num_lanes) {
  return ForHeads(num_experts, num_experts, num_lanes);
}

LaneTree LaneTree::ForColumns(int64_t columns, int num_lanes) {
  const int64_t least = std::max<int64_t>(kLeastBlocks, num_lanes);
  int64_t block = kColumnBlock;
  while (block > 1 && CeilDiv(columns, block) < least) block /= 2;
  LaneTree tree;
  Bisect({0, CeilDiv(columns, block)}, Depth(num_lanes), tree.lanes_, tree.nodes_);
  for (Range& lane : tree.lanes_) {
    lane = {lane.begin * block, std::min(lane.end * block, columns)};
  }
  return tree;
}

Range LaneTree::Units(Range lanes) const {
  if (lanes.size() <= 0) return {};
  return {lanes_[lanes.begin].begin, lanes_[lanes.end - 1].end};
}

std::vector<int> LaneTree::MaximalSubtrees(Range lanes) const {
  std::vector<int> found;
  if (!nodes_.empty() && lanes.size() > 0) CollectMaximal(nodes_, 0, lanes, found);
  return found;
}

std::vector<Range> LaneTree::Share(int degree) const { return ShareEvenly(num_lanes(), degree); }

std::vector<Range> ShareEvenly(int64_t count, int degree) {
  std::vector<Range> shares(degree);
  int64_t begin = 0;
  for (int i = 0; i < degree; ++i) {
    const int64_t size = count / degree + (i < count % degree ? 1 : 0);
    shares[i] = {begin, begin + size};
    begin += size;
  }
  return shares;
}

}  // namespace tessera::shard_loader
