// What a request forbids or favours, whatever the model says: the first part of rule 6.
#ifndef TESSERA_WORKER_SAMPLING_RESTRICTIONS_H_
#define TESSERA_WORKER_SAMPLING_RESTRICTIONS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/backend/drawer.h"

namespace tessera::worker {

using TokenBias = IdBias;

// Ids are those of the vocabulary.
struct Restrictions {
  std::vector<uint32_t> allowed_ids;             // empty: all
  std::vector<std::vector<uint32_t>> bad_words;  // none of them empty
  std::vector<TokenBias> logit_bias;             // each id once

  bool empty() const { return allowed_ids.empty() && bad_words.empty() && logit_bias.empty(); }
};

// The last id of every bad word whose others are the end of `generated` (as vLLM does).
std::vector<uint32_t> ForbiddenIds(const Restrictions& restrictions,
                                   absl::Span<const uint32_t> generated);

// Leaves what may be drawn of `values` [vocab] as it is, and sets the rest to -infinity: what is
// not allowed, and ForbiddenIds.
void Forbid(const Restrictions& restrictions, absl::Span<const uint32_t> generated,
            absl::Span<float> values);

// Adds the biases.
void AddBias(const Restrictions& restrictions, absl::Span<float> values);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SAMPLING_RESTRICTIONS_H_
