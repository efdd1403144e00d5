// A small table of sequences, and prompts for it.
#ifndef TESSERA_TESTS_UNIT_WORKER_RUNNER_SMALL_SEQUENCES_H_
#define TESSERA_TESTS_UNIT_WORKER_RUNNER_SMALL_SEQUENCES_H_

#include <cstdint>

#include "worker/runner/sequences.h"

namespace tessera::worker {

inline SequenceLimits Limits() {
  SequenceLimits limits;
  limits.vocab_size = 100;
  limits.block_tokens = 16;
  limits.num_kv_blocks = 8;
  limits.max_model_len = 40;
  limits.max_num_batched_tokens = 32;
  limits.max_num_seqs = 3;
  limits.max_logprobs = 5;
  return limits;
}

inline SequenceStart Start(uint64_t sequence, uint32_t tokens, uint32_t max_tokens = 10) {
  SequenceStart start;
  start.sequence = sequence;
  start.token_ids.assign(tokens, 7);
  start.prompt_length = tokens;
  start.max_tokens = max_tokens;
  return start;
}

}  // namespace tessera::worker

#endif  // TESSERA_TESTS_UNIT_WORKER_RUNNER_SMALL_SEQUENCES_H_
