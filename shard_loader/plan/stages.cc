#include "shard_loader/plan/stages.h"

#include <algorithm>
#include <limits>

#include "shard_loader/model/tensors.h"

namespace tessera::shard_loader {
namespace {

// The best cut of the first layers into some stages, and where its last stage begins.
struct Cut {
  int64_t heaviest = std::numeric_limits<int64_t>::max();
  double squares = 0;
  int64_t begin = 0;

  bool BetterThan(const Cut& other) const {
    return heaviest != other.heaviest ? heaviest < other.heaviest : squares < other.squares;
  }
};

}  // namespace

StageCosts StageCostsOf(const DecoderSpec& spec) {
  StageCosts costs;
  const auto elements = [&](TensorRole role) { return NumElements(TensorShape(spec, role)); };
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    costs.layers.push_back(LayerElements(spec, layer));
  }
  for (TensorId id : FrontTensors(spec)) costs.first += elements(id.role);
  for (TensorId id : BackTensors(spec)) costs.last += elements(id.role);
  if (spec.tied_embeddings) costs.last += elements(TensorRole::kHead);
  return costs;
}

std::vector<Range> CutStages(const StageCosts& costs, int stages) {
  const auto layers = static_cast<int64_t>(costs.layers.size());
  std::vector<int64_t> sums(layers + 1, 0);
  for (int64_t i = 0; i < layers; ++i) sums[i + 1] = sums[i] + costs.layers[i];

  // best[s][n]: the first n layers in s + 1 stages.
  std::vector<std::vector<Cut>> best(stages, std::vector<Cut>(layers + 1));
  for (int stage = 0; stage < stages; ++stage) {
    for (int64_t end = stage + 1; end <= layers - (stages - 1 - stage); ++end) {
      const int64_t least_begin = stage == 0 ? 0 : stage;
      // Descending, and only a strictly better cut replaces: later stages are the smaller ones.
      for (int64_t begin = stage == 0 ? 0 : end - 1; begin >= least_begin; --begin) {
        const int64_t cost = sums[end] - sums[begin] + (stage == 0 ? costs.first : 0) +
                             (stage == stages - 1 ? costs.last : 0);
        const auto weight = static_cast<double>(cost);
        Cut cut{cost, weight * weight, begin};
        if (stage > 0) {
          cut.heaviest = std::max(cost, best[stage - 1][begin].heaviest);
          cut.squares += best[stage - 1][begin].squares;
        }
        if (cut.BetterThan(best[stage][end])) best[stage][end] = cut;
      }
    }
  }
  std::vector<Range> ranges(stages);
  int64_t end = layers;
  for (int stage = stages - 1; stage >= 0; --stage) {
    ranges[stage] = {best[stage][end].begin, end};
    end = best[stage][end].begin;
  }
  return ranges;
}

}  // namespace tessera::shard_loader
