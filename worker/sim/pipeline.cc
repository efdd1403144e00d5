#include "worker/sim/pipeline.h"

#include <algorithm>

namespace tessera::worker {

std::vector<Busy> Pipeline::Add(absl::Duration earliest, absl::Span<const absl::Duration> costs) {
  std::vector<Busy> stages;
  for (size_t stage = 0; stage < free_at_.size(); ++stage) {
    const absl::Duration begin = std::max(earliest, free_at_[stage]);
    earliest = begin + costs[stage];
    free_at_[stage] = earliest;
    stages.push_back({begin, earliest});
  }
  return stages;
}

}  // namespace tessera::worker
