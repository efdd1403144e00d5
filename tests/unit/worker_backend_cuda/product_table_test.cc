#include "worker/backend/cuda/product_table.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/plan/lanes.h"
#include "worker/backend/backend.h"

namespace tessera::worker::cuda {
namespace {

using shard_loader::Codes;
using shard_loader::DType;
using shard_loader::LaneTree;
using shard_loader::Range;

ProductArgs Args(const SumOrder& order, DType dtype, int64_t rows = 1, int64_t outputs = 1) {
  ProductArgs args;
  args.num_rows = rows;
  args.weights.dtype = dtype;
  args.weights.rows = outputs;
  args.weights.columns = order.lanes.back().end;
  args.lanes = order.lanes.data();
  args.num_lanes = static_cast<int64_t>(order.lanes.size());
  return args;
}

// The sum of every root in words: "((0-256 + 256-512) + ...)"; columns counted from `first`.
std::vector<std::string> Roots(const SumOrder& order, DType dtype, int64_t first) {
  LaneList list;
  REQUIRE(MakeLaneList(Args(order, dtype), Order::kWide, &list));
  std::vector<std::string> roots(order.num_roots);
  std::vector<std::string> waiting;
  for (int i = 0; i < list.count; ++i) {
    const LaneEntry& lane = list.lanes[i];
    std::string sum = absl::StrCat(first + lane.begin, "-", first + lane.end);
    for (int fold = 0; fold < lane.folds; ++fold) {
      REQUIRE_FALSE(waiting.empty());
      sum = absl::StrCat("(", waiting.back(), " + ", sum, ")");
      waiting.pop_back();
    }
    if (lane.root < 0) {
      waiting.push_back(sum);
    } else {
      roots[lane.root] = sum;
    }
  }
  CHECK(waiting.empty());
  return roots;
}

// The sum below a node, of the roots that the ranks give.
std::string Finish(const LaneTree& tree, int node, const std::vector<Range>& owned,
                   std::vector<std::vector<std::string>>* roots) {
  const shard_loader::LaneNode& at = tree.nodes()[node];
  for (size_t rank = 0; rank < owned.size(); ++rank) {
    if (at.lanes.begin < owned[rank].begin || at.lanes.end > owned[rank].end) continue;
    const std::string root = (*roots)[rank].front();
    (*roots)[rank].erase((*roots)[rank].begin());
    return root;
  }
  const std::string left = Finish(tree, at.left, owned, roots);
  return absl::StrCat("(", left, " + ", Finish(tree, at.right, owned, roots), ")");
}

TEST_CASE("the way of a product is found by the set's order, the dtype and the lane's columns") {
  struct Expected {
    Order order;
    DType dtype;
    Codes codes;
    int64_t columns;
    ProductKernel kernel;
    int columns_at_once;
    int cuts;
  };
  const Expected table[] = {
      {Order::kWide, DType::kBF16, Codes::kNone, 1, ProductKernel::kMma, 16, 1},
      {Order::kWide, DType::kF16, Codes::kNone, 1023, ProductKernel::kMma, 16, 1},
      {Order::kWide, DType::kBF16, Codes::kNone, 1024, ProductKernel::kMma, 16, 4},
      {Order::kWide, DType::kF16, Codes::kNone, 28672, ProductKernel::kMma, 16, 4},
      {Order::kWide, DType::kF32, Codes::kNone, 4096, ProductKernel::kFma, 1, 1},
      {Order::kWide, DType::kBF16, Codes::kInt4, 4096, ProductKernel::kCodes, 0, 1},
      {Order::kFma16, DType::kBF16, Codes::kNone, 4096, ProductKernel::kFma, 1, 1},
      {Order::kFma16, DType::kF16, Codes::kInt8, 64, ProductKernel::kCodes, 0, 1},
  };
  for (const Expected& each : table) {
    INFO(each.columns << " columns in " << shard_loader::DTypeName(each.dtype));
    const ProductAlgorithm& found = AlgorithmOf(each.order, each.dtype, each.codes, each.columns);
    CHECK(found.kernel == each.kernel);
    CHECK(found.columns_at_once == each.columns_at_once);
    CHECK(found.cuts == each.cuts);
  }
}

TEST_CASE("columns change how a lane is cut, and never the kernel of a product") {
  for (Order order : {Order::kFma16, Order::kWide}) {
    for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (Codes codes : {Codes::kNone, Codes::kInt8, Codes::kInt4, Codes::kInt4Offset}) {
        const ProductAlgorithm& first = AlgorithmOf(order, dtype, codes, 1);
        for (int64_t columns = 1; columns < 40000; columns += 61) {
          const ProductAlgorithm& found = AlgorithmOf(order, dtype, codes, columns);
          REQUIRE(found.kernel == first.kernel);
          REQUIRE(found.columns_at_once == first.columns_at_once);
        }
      }
    }
  }
}

TEST_CASE("every tp adds the parts of a product as tp 1 does") {
  for (int64_t columns : {64, 100, 512, 4096, 11008, 14336, 28672}) {
    const LaneTree tree = LaneTree::ForColumns(columns, 8);
    const int lanes = tree.num_lanes();
    const Range all = {0, lanes};
    for (DType dtype : {DType::kBF16, DType::kF32}) {
      const std::string expected = Roots(SumOrder::Lanes(tree, all, 1), dtype, 0).at(0);
      for (int tp = 2; tp <= lanes; ++tp) {
        INFO(columns << " columns, tp " << tp);
        std::vector<Range> owned;
        std::vector<std::vector<std::string>> roots;
        for (int rank = 0; rank < tp; ++rank) {
          owned.push_back({lanes * rank / tp, lanes * (rank + 1) / tp});
          roots.push_back(
              Roots(SumOrder::Lanes(tree, owned.back(), 1), dtype, tree.Units(owned.back()).begin));
        }
        CHECK(Finish(tree, 0, owned, &roots) == expected);
      }
    }
  }
}

TEST_CASE("rows of the batch and of the weights choose threads, and no sum") {
  const SumOrder order = SumOrder::Lanes(LaneTree::ForColumns(14336, 8), {0, 8}, 1);
  LaneList one;
  REQUIRE(MakeLaneList(Args(order, DType::kBF16), Order::kWide, &one));
  const MmaTiling expected[] = {MmaTiling::kFew8, MmaTiling::kFew16, MmaTiling::kFew32,
                                MmaTiling::kMany};
  for (int64_t rows = 1; rows < 300; ++rows) {
    LaneList list;
    REQUIRE(MakeLaneList(Args(order, DType::kBF16, rows, 7 * rows), Order::kWide, &list));
    REQUIRE(list.count == one.count);
    for (int i = 0; i < list.count; ++i) {
      REQUIRE(list.lanes[i].begin == one.lanes[i].begin);
      REQUIRE(list.lanes[i].end == one.lanes[i].end);
      REQUIRE(list.lanes[i].folds == one.lanes[i].folds);
      REQUIRE(list.lanes[i].root == one.lanes[i].root);
    }
    REQUIRE(TilingOf(rows, list) == expected[rows > 64 ? 3 : rows > 16 ? 2 : rows > 8 ? 1 : 0]);
  }
  one.lanes[1].begin = 1028;  // of which no 16 bytes can be copied
  CHECK(TilingOf(200, one) == MmaTiling::kFew32);
}

TEST_CASE("tiles of experts' rows always find room, however the rows are spread") {
  CHECK(GroupTilingOf(1) == MmaTiling::kFew8);
  CHECK(GroupTilingOf(8) == MmaTiling::kFew8);
  CHECK(GroupTilingOf(32) == MmaTiling::kFew32);
  CHECK(GroupTileRows(ProductKernel::kMma, 1, 8, 256) == 1);  // a row has an expert once
  CHECK(GroupTileRows(ProductKernel::kMma, 256, 2048, 256) == 8);
  CHECK(GroupTileRows(ProductKernel::kMma, 256, 512, 8) == 32);
  CHECK(GroupTileRows(ProductKernel::kFma, 256, 512, 8) == 8);
  CHECK(GroupTileRows(ProductKernel::kCodes, 256, 512, 8) == 8);
  for (const int64_t experts : {1, 3, 8, 64}) {
    for (const int64_t tile_rows : {1, 8, 32}) {
      // Many experts with one row more than whole tiles, and the rest with one.
      for (int64_t heavy = 0; heavy <= experts; ++heavy) {
        const int64_t pairs = heavy * (3 * tile_rows + 1) + (experts - heavy);
        const int64_t tiles = heavy * 4 + (experts - heavy);
        CHECK(MaxGroupTiles(pairs, experts, tile_rows) >= std::min(pairs, tiles));
        CHECK(MaxGroupTiles(pairs, experts, tile_rows) <= pairs);
      }
    }
  }
}

TEST_CASE("more parts than a kernel takes are told, not cut off") {
  SumOrder order;
  for (int lane = 0; lane < 17; ++lane) {
    order.lanes.push_back({1024 * lane, 1024 * (lane + 1), 0, lane});
  }
  LaneList list;
  CHECK_FALSE(MakeLaneList(Args(order, DType::kBF16), Order::kWide, &list));
  CHECK(MakeLaneList(Args(order, DType::kF32), Order::kWide, &list));
  CHECK(list.count == 17);
}

}  // namespace
}  // namespace tessera::worker::cuda
