// A rank's weights, from a finished image or from the checkpoint.
#ifndef TESSERA_WORKER_MODEL_LOAD_WEIGHTS_H_
#define TESSERA_WORKER_MODEL_LOAD_WEIGHTS_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/load/load_shard.h"
#include "shard_loader/plan/rank_plan.h"
#include "shard_loader/plan/weight_format.h"
#include "worker/model/weight_images.h"
#include "worker/model/weights.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

struct LoadedWeights {
  std::unique_ptr<const Weights> weights;
  uint64_t bytes_read = 0;  // of the checkpoint; none where the image was there
};

// Takes the image of this rank from `images`, or reads the rank's slices, packs them, and has
// `images` keep the result; what `memory` holds of them is a copy, where it is not the host's.
// `options` as in LoadShard, whose parts are chosen here. Errors: those of the checkpoint;
// RESOURCE_EXHAUSTED (no memory).
absl::StatusOr<LoadedWeights> LoadWeights(const shard_loader::Checkpoint& checkpoint,
                                          const shard_loader::RankPlan& plan,
                                          const shard_loader::WeightFormat& format,
                                          WeightImages& images,
                                          const shard_loader::LoadOptions& options,
                                          Memory& memory = HostMemory());

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_LOAD_WEIGHTS_H_
