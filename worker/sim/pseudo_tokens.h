// What simulated ranks draw: ids that follow from the log, the sampling key and nothing else, so
// that replays and all layouts agree, as those of a model do. Pure.
#ifndef TESSERA_WORKER_SIM_PSEUDO_TOKENS_H_
#define TESSERA_WORKER_SIM_PSEUDO_TOKENS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "worker/runner/step.h"

namespace tessera::worker {

// The hash of a log after `id`, from its hash before; 0 for an empty log.
uint64_t ExtendLogHash(uint64_t hash, uint32_t id);

struct PseudoDraw {
  uint64_t log_hash = 0;
  uint64_t seed = 0;   // 0 for a greedy draw
  uint32_t index = 0;  // of the sequence in its request
  uint32_t vocab_size = 1;
  absl::Span<const uint32_t> masked_ids;  // not drawn, unless they are the whole vocabulary
};

uint32_t DrawPseudoId(const PseudoDraw& draw);

// `id` with a made-up logprob below 0, and `num_top` others, which stand for the most likely ones.
// `log_hash` is of the log before it.
Token MakePseudoToken(uint32_t id, uint64_t log_hash, uint32_t num_top, uint32_t vocab_size);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SIM_PSEUDO_TOKENS_H_
