// What may be drawn, and the filters that narrow it. Each is a function of the values alone: sums
// go over ascending ids, or in the one order that values and ids give; ties go to the lower id.
#ifndef TESSERA_WORKER_SAMPLING_CANDIDATES_H_
#define TESSERA_WORKER_SAMPLING_CANDIDATES_H_

#include <cstdint>

#include "absl/types/span.h"

namespace tessera::worker {

struct Candidate {
  uint32_t id = 0;
  float value = 0;   // the logit after penalties and temperature
  float weight = 0;  // its probability, up to a factor common to all
};

// Candidates come, and are left, ascending by id; what stays is moved to the front. All return how
// many stay: at least one of those given.

// The `count` highest values.
int64_t KeepTopK(absl::Span<Candidate> candidates, int64_t count);
// The fewest of the highest values whose probabilities sum to `mass` or more (Holtzman et al.,
// arXiv:1904.09751).
int64_t KeepTopP(absl::Span<Candidate> candidates, float mass);
// The fewest of those whose information is nearest to the entropy whose probabilities sum to `mass`
// or more (Meister et al., arXiv:2202.00666).
int64_t KeepTypical(absl::Span<Candidate> candidates, float mass);

// The one at `uniform` in [0, 1) of the walk over the ids ascending.
uint32_t DrawAt(absl::Span<const Candidate> candidates, double uniform);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SAMPLING_CANDIDATES_H_
