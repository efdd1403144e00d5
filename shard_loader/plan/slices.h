// Which part of which weight a rank holds.
#ifndef TESSERA_SHARD_LOADER_PLAN_SLICES_H_
#define TESSERA_SHARD_LOADER_PLAN_SLICES_H_

#include <cstdint>
#include <vector>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/rank_plan.h"

namespace tessera::shard_loader {

// A rectangle of a weight. Of one with a single dimension `rows` are its elements and `columns` is
// [0, 1).
struct TensorSlice {
  TensorId id;      // what the rank calls it
  TensorId source;  // where it lies: other than `id` only for the head of tied embeddings
  Range rows;
  Range columns;
  std::vector<int64_t> shape;  // of the slice, with as many dimensions as the weight has

  int64_t elements() const { return rows.size() * columns.size(); }
};

// Everything that the rank holds, in the order of ModelTensors. With tied embeddings the last stage
// has a kHead whose source is the embedding, unless it is the first stage too.
std::vector<TensorSlice> RankSlices(const DecoderSpec& spec, const RankPlan& plan);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_SLICES_H_
