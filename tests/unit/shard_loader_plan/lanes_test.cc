#include "shard_loader/plan/lanes.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

std::vector<int64_t> Sizes(const LaneTree& tree) {
  std::vector<int64_t> sizes;
  for (int i = 0; i < tree.num_lanes(); ++i) sizes.push_back(tree.lane(i).size());
  return sizes;
}

using Sequence = std::vector<int64_t>;

TEST_CASE("eight heads over four KV heads are eight lanes of one head") {
  const LaneTree tree = LaneTree::ForHeads(8, 4, 8);
  CHECK(Sizes(tree) == Sequence{1, 1, 1, 1, 1, 1, 1, 1});
  CHECK(tree.lane(0) == Range{0, 1});
  CHECK(tree.lane(7) == Range{7, 8});
  CHECK(tree.nodes().size() == 15);
  CHECK(tree.nodes()[0].lanes == Range{0, 8});
}

TEST_CASE("twelve heads in four KV groups are cut between groups, then each in two and one") {
  CHECK(Sizes(LaneTree::ForHeads(12, 4, 8)) == Sequence{2, 1, 2, 1, 2, 1, 2, 1});
}

TEST_CASE(
    "fourteen heads in two KV groups are cut between the groups, then the larger half first") {
  CHECK(Sizes(LaneTree::ForHeads(14, 2, 8)) == Sequence{2, 2, 2, 1, 2, 2, 2, 1});
}

TEST_CASE("thirty-two heads over eight KV heads are eight lanes of one KV group") {
  const LaneTree tree = LaneTree::ForHeads(32, 8, 8);
  CHECK(Sizes(tree) == Sequence{4, 4, 4, 4, 4, 4, 4, 4});
  CHECK(tree.lane(3) == Range{12, 16});
}

TEST_CASE("three KV groups of two heads are cut in halves, which leaves six lanes") {
  const LaneTree tree = LaneTree::ForHeads(6, 3, 8);
  CHECK(Sizes(tree) == Sequence{1, 1, 1, 1, 1, 1});
  // [0,3) and [3,6); of [0,3): [0,2) and [2,3), which is one unit and not cut.
  REQUIRE(tree.nodes().size() == 11);
  const LaneNode& root = tree.nodes()[0];
  CHECK(tree.nodes()[root.left].lanes == Range{0, 3});
  CHECK(tree.nodes()[root.right].lanes == Range{3, 6});
  const LaneNode& left = tree.nodes()[root.left];
  CHECK(tree.nodes()[left.left].lanes == Range{0, 2});
  CHECK(tree.nodes()[left.right].lanes == Range{2, 3});
  CHECK(tree.nodes()[left.right].left == -1);
}

TEST_CASE("four heads are four lanes, one head is one") {
  CHECK(Sizes(LaneTree::ForHeads(4, 4, 8)) == Sequence{1, 1, 1, 1});
  CHECK(Sizes(LaneTree::ForHeads(1, 1, 8)) == Sequence{1});
}

TEST_CASE("the lane count sets how often heads are bisected") {
  CHECK(Sizes(LaneTree::ForHeads(32, 8, 1)) == Sequence{32});
  CHECK(Sizes(LaneTree::ForHeads(32, 8, 16)) == Sequence(16, 2));
  CHECK(Sizes(LaneTree::ForHeads(5, 5, 2)) == Sequence{3, 2});
}

TEST_CASE("columns are cut in blocks of 64 where there are eight of them") {
  CHECK(Sizes(LaneTree::ForColumns(1024, 8)) == Sequence(8, 128));
  CHECK(Sizes(LaneTree::ForColumns(11008, 8)) ==
        Sequence{1408, 1344, 1408, 1344, 1408, 1344, 1408, 1344});
}

TEST_CASE("narrow MLPs have smaller blocks, the last of them partial") {
  // 88 columns: 6 blocks of 16, so blocks of 8, 11 of them.
  CHECK(Sizes(LaneTree::ForColumns(88, 8)) == Sequence{16, 8, 16, 8, 16, 8, 8, 8});
  // 176 = 11 blocks of 16; 172 leaves the last with 12 columns.
  CHECK(Sizes(LaneTree::ForColumns(172, 8)) == Sequence{32, 16, 32, 16, 32, 16, 16, 12});
  CHECK(Sizes(LaneTree::ForColumns(3, 8)) == Sequence{1, 1, 1});
}

TEST_CASE("lanes cover every unit once and in order") {
  for (int64_t units = 1; units <= 200; ++units) {
    for (const LaneTree& tree : {LaneTree::ForHeads(units, 1, 8), LaneTree::ForColumns(units, 8)}) {
      int64_t next = 0;
      for (int lane = 0; lane < tree.num_lanes(); ++lane) {
        REQUIRE(tree.lane(lane).begin == next);
        REQUIRE(tree.lane(lane).size() > 0);
        next = tree.lane(lane).end;
      }
      REQUIRE(next == units);
      REQUIRE(tree.Units({0, tree.num_lanes()}) == Range{0, units});
    }
  }
}

TEST_CASE("three ranks over eight lanes hold three, three and two") {
  const LaneTree tree = LaneTree::ForHeads(8, 4, 8);
  CHECK(tree.Share(3) == std::vector<Range>{{0, 3}, {3, 6}, {6, 8}});
  CHECK(tree.Share(1) == std::vector<Range>{{0, 8}});
  CHECK(tree.Share(8).back() == Range{7, 8});
}

TEST_CASE("maximal subtrees of lanes 3 to 6 of eight are lane 3 and the pair of 4 and 5") {
  const LaneTree tree = LaneTree::ForHeads(8, 8, 8);
  const std::vector<int> found = tree.MaximalSubtrees({3, 6});
  REQUIRE(found.size() == 2);
  CHECK(tree.nodes()[found[0]].lanes == Range{3, 4});
  CHECK(tree.nodes()[found[1]].lanes == Range{4, 6});
}

TEST_CASE("maximal subtrees tile every range, and no parent of one lies inside it") {
  for (int64_t heads : {1, 3, 4, 6, 8, 14, 32}) {
    const LaneTree tree = LaneTree::ForHeads(heads, heads, 8);
    std::vector<int> parent(tree.nodes().size(), -1);
    for (size_t i = 0; i < tree.nodes().size(); ++i) {
      if (tree.nodes()[i].left < 0) continue;
      parent[tree.nodes()[i].left] = parent[tree.nodes()[i].right] = static_cast<int>(i);
    }
    for (int64_t begin = 0; begin < tree.num_lanes(); ++begin) {
      for (int64_t end = begin; end <= tree.num_lanes(); ++end) {
        int64_t next = begin;
        for (int index : tree.MaximalSubtrees({begin, end})) {
          const Range lanes = tree.nodes()[index].lanes;
          REQUIRE(lanes.begin == next);
          next = lanes.end;
          if (parent[index] < 0) continue;
          const Range above = tree.nodes()[parent[index]].lanes;
          REQUIRE((above.begin < begin || above.end > end));
        }
        REQUIRE(next == end);
      }
    }
  }
}

}  // namespace
}  // namespace tessera::shard_loader
