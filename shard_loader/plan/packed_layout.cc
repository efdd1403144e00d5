#include "shard_loader/plan/packed_layout.h"

#include <algorithm>

#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

constexpr int64_t kFloatBytes = 4;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Elements of the cut axis that this rank holds.
int64_t CutSize(const RankPlan& plan, const RoleCut& cut, int64_t whole) {
  switch (cut.by) {
    case CutBy::kNothing:
      return whole;
    case CutBy::kHeads:
      return plan.heads.size() * cut.per_unit;
    case CutBy::kKvHeads:
      return plan.kv_heads.size() * cut.per_unit;
    case CutBy::kColumns:
      return plan.mlp_columns.size() * cut.per_unit;
    case CutBy::kVocab:
      return plan.vocab.size() * cut.per_unit;
  }
  return whole;
}

// Borders between lanes within the rank's columns: ascending, without its own.
std::vector<int64_t> LaneBorders(const RankPlan& plan, const RoleCut& cut) {
  if (cut.axis != 1 || (cut.by != CutBy::kHeads && cut.by != CutBy::kColumns)) return {};
  const bool heads = cut.by == CutBy::kHeads;
  const LaneTree& tree = heads ? plan.attention_tree : plan.mlp_tree;
  const Range& lanes = heads ? plan.attention_lanes : plan.mlp_lanes;
  std::vector<int64_t> borders;
  for (int64_t lane = lanes.begin + 1; lane < lanes.end; ++lane) {
    const int64_t units = tree.lane(static_cast<int>(lane)).begin - tree.Units(lanes).begin;
    borders.push_back(units * cut.per_unit);
  }
  return borders;
}

// The first column of the whole matrix that the rank holds.
int64_t FirstColumn(const RankPlan& plan, const RoleCut& cut) {
  if (cut.axis != 1) return 0;
  if (cut.by == CutBy::kHeads) return plan.heads.begin * cut.per_unit;
  return cut.by == CutBy::kColumns ? plan.mlp_columns.begin * cut.per_unit : 0;
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

void Append(const DecoderSpec& spec, const RankPlan& plan, TensorId id,
            const WeightFormat& whole_format, PackedLayout* layout) {
  std::vector<int64_t> shape = TensorShape(spec, id.role);
  RoleCut cut = CutOf(spec, id.role);
  shape[cut.axis] = CutSize(plan, cut, shape[cut.axis]);

  PackedTensor tensor;
  tensor.id = id;
  tensor.is_matrix = shape.size() == 2;
  tensor.rows = shape[0];
  tensor.columns = tensor.is_matrix ? shape[1] : 1;
  tensor.offset = layout->bytes;
  if (tensor.is_matrix) {
    const WeightFormat format = FormatOfRole(whole_format, id.role);
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
  for (const PackedTensor& tensor : tensors) {
    if (tensor.id == id) return &tensor;
  }
  return nullptr;
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
  if (plan.has_embedding) Append(spec, plan, {-1, TensorRole::kEmbedding}, format, &layout);
  for (int64_t layer = plan.layers.begin; layer < plan.layers.end; ++layer) {
    for (TensorRole role : LayerRoles(spec)) Append(spec, plan, {layer, role}, format, &layout);
  }
  if (plan.has_head) {
    Append(spec, plan, {-1, TensorRole::kFinalNorm}, format, &layout);
    const bool shared = spec.tied_embeddings && plan.has_embedding;
    if (!shared) Append(spec, plan, {-1, TensorRole::kHead}, format, &layout);
  }
  return layout;
}

}  // namespace tessera::shard_loader
