// Lanes: the fixed slices of a sharded dimension, the unit of exactness (worker/README.md, rule 2).
// A function of the model alone: never of the parallel degrees.
#ifndef TESSERA_SHARD_LOADER_PLAN_LANES_H_
#define TESSERA_SHARD_LOADER_PLAN_LANES_H_

#include <cstdint>
#include <vector>

namespace tessera::shard_loader {

// Half-open: [begin, end).
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
  friend bool operator==(const Range&, const Range&) = default;
};

// A node of the tree of cuts; leaves are lanes. Node 0 is the root.
struct LaneNode {
  Range lanes;    // the lanes below it
  int left = -1;  // -1: a leaf
  int right = -1;
};

// The tree along which lanes are added, left plus right. Immutable, thread-safe.
class LaneTree {
 public:
  // Units are query heads. `num_lanes` is a power of two: log2 of it bisections. A slice with an
  // even number of whole KV groups is cut between groups; any other in halves, the larger first;
  // one unit is not cut.
  static LaneTree ForHeads(int64_t num_heads, int64_t num_kv_heads, int num_lanes);
  // Units are MLP columns, cut in blocks of 64, or of the largest power of two that leaves 8
  // blocks (`num_lanes` blocks where that is more); the last block may be partial.
  static LaneTree ForColumns(int64_t columns, int num_lanes);

  // Units are whole experts, bisected likewise.
  static LaneTree ForExperts(int64_t num_experts, int num_lanes);

  int num_lanes() const { return static_cast<int>(lanes_.size()); }
  // The units of a lane.
  Range lane(int index) const { return lanes_[index]; }
  // The units of neighbouring lanes.
  Range Units(Range lanes) const;
  const std::vector<LaneNode>& nodes() const { return nodes_; }
  // The nodes that are maximal among those wholly inside `lanes`, ascending by first lane. A rank
  // owning these lanes sends one partial sum for each.
  std::vector<int> MaximalSubtrees(Range lanes) const;
  // The neighbouring lanes of every one of `degree` ranks, the larger shares first; every rank has
  // at least one where degree <= num_lanes().
  std::vector<Range> Share(int degree) const;

 private:
  std::vector<Range> lanes_;  // in units
  std::vector<LaneNode> nodes_;
};

// `count` things over `degree` ranks as neighbouring ranges, the larger shares first.
std::vector<Range> ShareEvenly(int64_t count, int degree);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_LANES_H_
