#include "shard_loader/plan/packed_layout.h"

#include <algorithm>
#include <numeric>

#include "shard_loader/plan/rounding.h"
#include "shard_loader/plan/slices.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kFloatBytes = 4;

// The lanes of a dimension that is summed, and those that the rank has of them.
struct OwnLanes {
  const LaneTree& tree;
  Range lanes;
};

// None where the columns are one sum.
OwnLanes LanesOf(const RankPlan& plan, CutBy by) {
  switch (by) {
    case CutBy::kHeads:
      return {plan.attention_tree, plan.attention_lanes};
    case CutBy::kColumns:
      return {plan.mlp_tree, plan.mlp_lanes};
    case CutBy::kExpertColumns:
      return {plan.moe.tree, plan.expert_order == ExpertOrder::kLanes ? plan.moe.lanes : Range{}};
    case CutBy::kSharedColumns:
      return {plan.shared.tree, plan.shared.lanes};
    default:
      return {plan.attention_tree, {}};
  }
}

// Borders between lanes within the rank's columns: ascending, without its own.
std::vector<int64_t> LaneBorders(const RankPlan& plan, const RoleCut& cut) {
  if (cut.axis != 1) return {};
  const auto [tree, lanes] = LanesOf(plan, cut.by);
  std::vector<int64_t> borders;
  for (int64_t lane = lanes.begin + 1; lane < lanes.end; ++lane) {
    const int64_t units = tree.lane(static_cast<int>(lane)).begin - tree.Units(lanes).begin;
    borders.push_back(units * cut.per_unit);
  }
  return borders;
}

// The first column of the whole matrix that the rank holds.
int64_t FirstColumn(const RankPlan& plan, const RoleCut& cut) {
  return cut.axis == 1 ? UnitsOf(plan, cut.by).begin * cut.per_unit : 0;
}

std::vector<int64_t> MakeGroups(const RankPlan& plan, const RoleCut& cut,
                                const WeightFormat& format, int64_t columns) {
  std::vector<int64_t> groups;
  if (!format.groups_restart) {
    const int64_t first = FirstColumn(plan, cut);
    for (int64_t column = 0; column < columns;
         column = (first + column) / format.group * format.group + format.group - first) {
      groups.push_back(column);
    }
    groups.push_back(columns);
    return groups;
  }
  std::vector<int64_t> borders = LaneBorders(plan, cut);
  borders.push_back(columns);
  int64_t column = 0;
  for (int64_t border : borders) {
    for (; column < border; column += format.group) groups.push_back(column);
    column = border;
  }
  groups.push_back(columns);
  return groups;
}

int64_t MatrixBytes(const PackedTensor& tensor) {
  if (tensor.codes == Codes::kNone) {
    return PackedElements(tensor.rows, tensor.columns) * DTypeSize(tensor.dtype);
  }
  const int64_t groups = static_cast<int64_t>(tensor.groups.size()) - 1;
  return (tensor.rows + kTileRows - 1) / kTileRows *
         MakeCodedTile(tensor.codes, tensor.columns, groups).bytes;
}

void Append(const TensorSlice& slice, const RankPlan& plan, const RoleCut& cut,
            const WeightFormat& whole_format, PackedLayout* layout) {
  PackedTensor tensor;
  tensor.id = slice.id;
  tensor.is_matrix = slice.shape.size() == 2;
  tensor.rows = slice.shape[0];
  tensor.columns = tensor.is_matrix ? slice.shape[1] : 1;
  tensor.offset = layout->bytes;
  if (tensor.is_matrix) {
    const WeightFormat format = FormatOfRole(whole_format, slice.id.role);
    tensor.dtype = format.dtype;
    tensor.codes = format.codes;
    if (format.coded()) tensor.groups = MakeGroups(plan, cut, format, tensor.columns);
    tensor.bytes = MatrixBytes(tensor);
  } else {
    tensor.bytes = RoundUp(tensor.rows, kTileRows) * DTypeSize(tensor.dtype);
  }
  layout->bytes += RoundUp(tensor.bytes, kPackedAlignment);
  layout->tensors.push_back(tensor);
}

}  // namespace

const PackedTensor* PackedLayout::Find(TensorId id) const {
  const auto found = std::lower_bound(by_id.begin(), by_id.end(), id,
                                      [&](int32_t i, TensorId key) { return tensors[i].id < key; });
  return found != by_id.end() && tensors[*found].id == id ? &tensors[*found] : nullptr;
}

CodedTile MakeCodedTile(Codes codes, int64_t columns, int64_t num_groups) {
  CodedTile tile;
  const int64_t blocks = (columns + 7) / 8;
  tile.scales = blocks * (codes == Codes::kInt8 ? 8 : 4) * kTileRows;
  tile.minima = tile.scales + num_groups * kTileRows * 2;
  const int64_t end =
      tile.minima + (codes == Codes::kInt4Offset ? num_groups * kTileRows * kFloatBytes : 0);
  tile.bytes = RoundUp(end, kPackedAlignment);
  return tile;
}

PackedLayout MakePackedLayout(const DecoderSpec& spec, const RankPlan& plan,
                              const WeightFormat& format) {
  PackedLayout layout;
  for (const TensorSlice& slice : RankSlices(spec, plan)) {
    Append(slice, plan, CutOf(spec, slice.id.role), format, &layout);
  }
  layout.by_id.resize(layout.tensors.size());
  std::iota(layout.by_id.begin(), layout.by_id.end(), 0);
  std::sort(layout.by_id.begin(), layout.by_id.end(),
            [&](int32_t a, int32_t b) { return layout.tensors[a].id < layout.tensors[b].id; });
  return layout;
}

}  // namespace tessera::shard_loader
