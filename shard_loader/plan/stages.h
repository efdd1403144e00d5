// Where a pipeline is cut: whole layers, balanced by the bytes of their weights.
#ifndef TESSERA_SHARD_LOADER_PLAN_STAGES_H_
#define TESSERA_SHARD_LOADER_PLAN_STAGES_H_

#include <cstdint>
#include <vector>

#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/plan/lanes.h"

namespace tessera::shard_loader {

// Weights in elements: all weights of a checkpoint are held in one dtype, so bytes are a multiple.
struct StageCosts {
  std::vector<int64_t> layers;
  int64_t first = 0;  // held by the first stage beside its layers: embeddings
  int64_t last = 0;   // by the last: final norm and head (the embedding again where tied)
};

StageCosts StageCostsOf(const DecoderSpec& spec);

// `stages` neighbouring ranges of at least one layer each: the heaviest stage is as light as it can
// be, and of those cuts the most even one (least sum of squares), and of those the one with the
// larger stages first. 1 <= stages <= layers.
std::vector<Range> CutStages(const StageCosts& costs, int stages);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_STAGES_H_
