// A step as the runner takes it and answers it: plain data, the twin of internal/v1/worker.proto.
#ifndef TESSERA_WORKER_RUNNER_STEP_H_
#define TESSERA_WORKER_RUNNER_STEP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/sampling/params.h"
#include "worker/sampling/restrictions.h"

namespace tessera::worker {

struct SequenceStart {
  uint64_t sequence = 0;
  uint32_t admission = 0;
  uint32_t index = 0;               // of the sequence in its request: part of the sampling key
  std::vector<uint32_t> token_ids;  // everything known: the prompt and what was generated before
  uint32_t prompt_length = 0;
  // The keys and values of the first `cached_tokens` lie in `blocks` already: fewer than are known.
  uint32_t cached_tokens = 0;
  std::vector<uint32_t> blocks;  // the block table begins with these; others may share them
  SamplingParams sampling;
  Restrictions restrictions;
  uint32_t max_tokens = 0;  // generated ones, those in token_ids included
  uint32_t min_tokens = 0;
  std::vector<uint32_t> stop_token_ids;
  std::optional<uint32_t> logprobs;         // top-k beside the chosen one
  std::optional<uint32_t> prompt_logprobs;  // likewise, of the prompt's tokens
  uint32_t candidates = 0;  // of a beam: so many ids that may follow are told with every token
};

// Computes up to `num_tokens` of the sequence's known tokens, from where it stands; when that
// reaches the end of what is known, one token is drawn. Where `max_ids` is more than one, guesses
// of up to max_ids - 1 tokens are computed behind them, as far as there are blocks: each that is
// what is drawn brings another token. A sequence that has ended is left alone.
struct SequenceStep {
  uint64_t sequence = 0;
  uint32_t num_tokens = 0;
  std::vector<uint32_t> new_blocks;  // appended to the sequence's block table
  uint32_t max_ids = 1;
};

// The contents of one KV block, in all layers, are copied to another, or to or from a slot outside
// the cache.
struct BlockCopy {
  enum class Kind { kCopy, kSpill, kFetch };
  uint32_t from = 0;  // of kFetch: a slot
  uint32_t to = 0;    // of kSpill: a slot
  Kind kind = Kind::kCopy;
};

struct StepInput {
  uint64_t step = 0;
  std::vector<SequenceStart> starts;
  std::vector<SequenceStep> entries;
  std::vector<uint64_t> ends;     // forgotten before anything else of the step
  std::vector<BlockCopy> copies;  // in this order, before any entry is run
  bool hash_residual = false;
};

struct TopToken {
  uint32_t id = 0;
  float logprob = 0;
};

struct Token {
  uint32_t id = 0;
  float logprob = 0;          // of the raw logits, natural logarithm
  std::vector<TopToken> top;  // descending; ties by the lower id
  // Of a beam: the likeliest ids that may be drawn, by logit and bias, descending; ties by the
  // lower id. Their logprobs are of the raw logits.
  std::vector<TopToken> candidates;
};

enum class Finish { kRunning, kStop, kLength, kFailed };

struct SequenceResult {
  uint64_t sequence = 0;
  uint32_t admission = 0;
  std::vector<Token> tokens;
  Finish finish = Finish::kRunning;
  std::string error;                 // of kFailed
  bool nothing_to_draw = false;      // of kFailed: the request itself forbids every token
  uint32_t prompt_position = 0;      // of prompt_tokens[0]
  std::vector<Token> prompt_tokens;  // logprobs of prompt tokens, those at position >= 1
};

struct StepOutput {
  uint64_t step = 0;
  std::vector<SequenceResult> results;  // of the rank that samples; empty elsewhere
  uint64_t ids_hash = 0;  // FNV-1a over (sequence, id) of the drawn tokens, equal on all ranks
  // Of the residual behind this rank's layers, where the step asks for it and has rows; equal on
  // all ranks of a stage.
  uint64_t residual_hash = 0;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_STEP_H_
