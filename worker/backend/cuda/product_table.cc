#include "worker/backend/cuda/product_table.h"

#include <algorithm>

namespace tessera::worker::cuda {
namespace {

using shard_loader::Codes;
using shard_loader::DType;

enum class WeightKind { kF32, k16Bits, kCoded };

struct Row {
  Order order;
  WeightKind weights;
  int64_t from_columns;  // of a lane; the last row that fits counts
  ProductAlgorithm algorithm;
};

// A library's algorithm would be a row of this table once it is shown to give these bits. None is.
constexpr Row kTable[] = {
    {Order::kFma16, WeightKind::kF32, 0, {ProductKernel::kFma, 1, 1}},
    {Order::kFma16, WeightKind::k16Bits, 0, {ProductKernel::kFma, 1, 1}},
    {Order::kFma16, WeightKind::kCoded, 0, {ProductKernel::kCodes, 0, 1}},
    {Order::kWide, WeightKind::kF32, 0, {ProductKernel::kFma, 1, 1}},
    {Order::kWide, WeightKind::k16Bits, 0, {ProductKernel::kMma, 16, 1}},
    {Order::kWide, WeightKind::k16Bits, 1024, {ProductKernel::kMma, 16, 4}},
    {Order::kWide, WeightKind::kCoded, 0, {ProductKernel::kCodes, 0, 1}},
};

// The parts of a lane begin at multiples of so many columns from its first one.
constexpr int64_t kCutColumns = 64;

// After part `cut` of `cuts`, a power of two: so many times the last two sums become one.
int FoldsAfter(int cut, int cuts) {
  int folds = 0;
  for (int width = 2; width <= cuts && (cut + 1) % width == 0; width *= 2) ++folds;
  return folds;
}

// Copies of 16 bytes need lanes that begin at multiples of 8 columns.
bool CanStage(const LaneList& lanes) {
  return std::all_of(lanes.lanes, lanes.lanes + lanes.count,
                     [](const LaneEntry& lane) { return lane.begin % 8 == 0; });
}

}  // namespace

const ProductAlgorithm& AlgorithmOf(Order order, DType dtype, Codes codes, int64_t columns) {
  WeightKind kind = dtype == DType::kF32 ? WeightKind::kF32 : WeightKind::k16Bits;
  if (codes != Codes::kNone) kind = WeightKind::kCoded;
  const Row* found = nullptr;
  for (const Row& row : kTable) {
    if (row.order == order && row.weights == kind && columns >= row.from_columns) found = &row;
  }
  return found->algorithm;
}

bool MakeLaneList(const ProductArgs& args, Order order, LaneList* list) {
  list->count = 0;
  for (int64_t l = 0; l < args.num_lanes; ++l) {
    const SumLane& lane = args.lanes[l];
    const int cuts =
        AlgorithmOf(order, args.weights.dtype, args.weights.codes, lane.end - lane.begin).cuts;
    if (list->count + cuts > kMaxLaneEntries) return false;
    int64_t begin = lane.begin;
    for (int cut = 0; cut < cuts; ++cut) {  // the first ones are the longer
      const int64_t left = lane.end - begin;
      const int64_t part = cut + 1 == cuts ? left
                                           : (left + (cuts - cut) * kCutColumns - 1) /
                                                 ((cuts - cut) * kCutColumns) * kCutColumns;
      LaneEntry& entry = list->lanes[list->count++];
      entry.begin = static_cast<int32_t>(begin);
      entry.end = static_cast<int32_t>(begin + part);
      entry.folds = static_cast<int16_t>(FoldsAfter(cut, cuts));
      entry.root = -1;
      begin += part;
    }
    LaneEntry& last = list->lanes[list->count - 1];
    last.folds = static_cast<int16_t>(last.folds + lane.folds);
    last.root = static_cast<int16_t>(lane.root);
  }
  return true;
}

MmaTiling TilingOf(int64_t num_rows, const LaneList& lanes) {
  // Up to so many rows, reading the weights again for the next 32 rows is not the bottleneck.
  constexpr int64_t kFewRows = 64;
  if (num_rows > kFewRows && CanStage(lanes)) return MmaTiling::kMany;
  if (num_rows <= 8) return MmaTiling::kFew8;
  return num_rows <= 16 ? MmaTiling::kFew16 : MmaTiling::kFew32;
}

MmaTiling GroupTilingOf(int64_t tile_rows) {
  return tile_rows <= 8 ? MmaTiling::kFew8 : MmaTiling::kFew32;
}

int64_t GroupTileRows(ProductKernel kernel, int64_t num_rows, int64_t pairs, int64_t num_experts) {
  if (num_rows == 1) return 1;  // an expert then has one row, or none
  return kernel == ProductKernel::kMma && pairs > 16 * num_experts ? 32 : 8;
}

int64_t MaxGroupTiles(int64_t pairs, int64_t num_experts, int64_t tile_rows) {
  return std::min(pairs, pairs / tile_rows + num_experts);
}

}  // namespace tessera::worker::cuda
