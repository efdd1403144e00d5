#include "shard_loader/plan/slices.h"

#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

// The units of `plan` along the dimension that a role is cut by.
Range UnitsOf(const RankPlan& plan, CutBy by) {
  switch (by) {
    case CutBy::kHeads:
      return plan.heads;
    case CutBy::kKvHeads:
      return plan.kv_heads;
    case CutBy::kColumns:
      return plan.mlp_columns;
    case CutBy::kVocab:
      return plan.vocab;
    case CutBy::kNothing:
      break;
  }
  return {};
}

TensorSlice SliceOf(const DecoderSpec& spec, const RankPlan& plan, TensorId id) {
  TensorSlice slice{.id = id, .source = id, .shape = TensorShape(spec, id.role)};
  slice.rows = {0, slice.shape[0]};
  slice.columns = {0, slice.shape.size() > 1 ? slice.shape[1] : 1};
  const RoleCut cut = CutOf(spec, id.role);
  if (cut.by != CutBy::kNothing) {
    const Range units = UnitsOf(plan, cut.by);
    const Range part{units.begin * cut.per_unit, units.end * cut.per_unit};
    (cut.axis == 0 ? slice.rows : slice.columns) = part;
    slice.shape[cut.axis] = part.size();
  }
  return slice;
}

}  // namespace

std::vector<TensorSlice> RankSlices(const DecoderSpec& spec, const RankPlan& plan) {
  std::vector<TensorSlice> slices;
  const TensorId embedding{-1, TensorRole::kEmbedding};
  if (plan.has_embedding) slices.push_back(SliceOf(spec, plan, embedding));
  for (int64_t layer = plan.layers.begin; layer < plan.layers.end; ++layer) {
    for (TensorRole role : LayerRoles(spec)) slices.push_back(SliceOf(spec, plan, {layer, role}));
  }
  if (!plan.has_head) return slices;
  slices.push_back(SliceOf(spec, plan, {-1, TensorRole::kFinalNorm}));
  if (spec.tied_embeddings && plan.has_embedding) return slices;
  slices.push_back(SliceOf(spec, plan, {-1, TensorRole::kHead}));
  if (spec.tied_embeddings) slices.back().source = embedding;
  return slices;
}

}  // namespace tessera::shard_loader
