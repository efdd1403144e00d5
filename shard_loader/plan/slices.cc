#include "shard_loader/plan/slices.h"

#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

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
  const auto add = [&](const std::vector<TensorId>& ids) {
    for (TensorId id : ids) {
      const bool held =
          id.expert < 0 || (id.expert >= plan.experts.begin && id.expert < plan.experts.end);
      if (held) slices.push_back(SliceOf(spec, plan, id));
    }
  };
  if (plan.has_embedding) add(FrontTensors(spec));
  for (int64_t layer = plan.layers.begin; layer < plan.layers.end; ++layer) {
    add(LayerTensors(spec, layer));
  }
  if (!plan.has_head) return slices;
  add(BackTensors(spec));
  if (spec.tied_embeddings && !plan.has_embedding) {
    slices.push_back(SliceOf(spec, plan, {-1, TensorRole::kHead}));
    slices.back().source = {-1, TensorRole::kEmbedding};
  }
  return slices;
}

}  // namespace tessera::shard_loader
