#include "shard_loader/plan/packed_layout.h"

#include <algorithm>

#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

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

void Append(const DecoderSpec& spec, const RankPlan& plan, TensorId id, DType dtype,
            PackedLayout* layout) {
  std::vector<int64_t> shape = TensorShape(spec, id.role);
  RoleCut cut = CutOf(spec, id.role);
  shape[cut.axis] = CutSize(plan, cut, shape[cut.axis]);

  PackedTensor tensor;
  tensor.id = id;
  tensor.is_matrix = shape.size() == 2;
  tensor.dtype = tensor.is_matrix ? dtype : DType::kF32;
  tensor.rows = shape[0];
  tensor.columns = tensor.is_matrix ? shape[1] : 1;
  tensor.offset = layout->bytes;
  tensor.bytes = RoundUp(tensor.rows, kTileRows) * tensor.columns * DTypeSize(tensor.dtype);
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

PackedLayout MakePackedLayout(const DecoderSpec& spec, const RankPlan& plan, DType dtype) {
  PackedLayout layout;
  if (plan.has_embedding) Append(spec, plan, {-1, TensorRole::kEmbedding}, dtype, &layout);
  for (int64_t layer = plan.layers.begin; layer < plan.layers.end; ++layer) {
    for (TensorRole role : LayerRoles(spec)) Append(spec, plan, {layer, role}, dtype, &layout);
  }
  if (plan.has_head) {
    Append(spec, plan, {-1, TensorRole::kFinalNorm}, dtype, &layout);
    const bool shared = spec.tied_embeddings && plan.has_embedding;
    if (!shared) Append(spec, plan, {-1, TensorRole::kHead}, dtype, &layout);
  }
  return layout;
}

}  // namespace tessera::shard_loader
