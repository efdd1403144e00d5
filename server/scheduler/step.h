// One step of a group as the scheduler decides it and the executor sends it: plain data.
#ifndef TESSERA_SERVER_SCHEDULER_STEP_H_
#define TESSERA_SERVER_SCHEDULER_STEP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/kv/block_copy.h"

namespace tessera::server {

struct TokenBias {
  uint32_t id = 0;
  float bias = 0;
};

// Resolved: every default is filled in.
struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  int32_t top_k = 0;         // 0 or -1: off
  float top_p = 1.0f;
  float min_p = 0.0f;
  float typical_p = 1.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint64_t seed = 0;
  std::vector<TokenBias> logit_bias;             // each id once, ascending
  std::vector<uint32_t> allowed_token_ids;       // empty: all
  std::vector<std::vector<uint32_t>> bad_words;  // as ids
};

// A sequence that the workers do not know yet, in full.
struct SequenceStart {
  uint64_t sequence = 0;            // unique in the life of the server
  uint32_t admission = 0;           // counts its starts: results of an earlier one are dropped
  uint32_t index = 0;               // in its request: part of the sampling key
  std::vector<uint32_t> token_ids;  // the log: the prompt and what was generated before
  uint32_t prompt_length = 0;
  // The keys and values of the first `cached_tokens` lie in `blocks` already: fewer than are known.
  uint32_t cached_tokens = 0;
  std::vector<uint32_t> blocks;  // the block table begins with these; others may share them
  SamplingParams sampling;
  uint32_t max_tokens = 0;  // generated ones, those in token_ids included
  uint32_t min_tokens = 0;
  std::vector<uint32_t> stop_token_ids;
  std::optional<uint32_t> logprobs;
  std::optional<uint32_t> prompt_logprobs;
  uint32_t candidates = 0;  // of a beam: so many ids that may follow are told with every token
};

// Compute up to `num_tokens` known tokens of a sequence; at their end one is drawn, and up to
// max_ids where guesses of the following ones are right.
struct SequenceStep {
  uint64_t sequence = 0;
  uint32_t num_tokens = 0;
  std::vector<uint32_t> new_blocks;
  uint32_t max_ids = 1;
};

struct Step {
  uint64_t step = 0;  // ascending within an epoch
  std::vector<SequenceStart> starts;
  std::vector<SequenceStep> entries;
  std::vector<uint64_t> ends;     // the workers forget these first
  std::vector<BlockCopy> copies;  // in this order, before any entry is run
};

struct TopToken {
  uint32_t id = 0;
  float logprob = 0;
};

struct Token {
  uint32_t id = 0;
  float logprob = 0;
  std::vector<TopToken> top;  // descending; ties by the lower id
  // Of a beam: the likeliest ids that the request allows, by logit and bias, descending; ties by
  // the lower id. Their logprobs are of the raw logits.
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
  std::vector<Token> prompt_tokens;  // logprobs of prompt tokens at positions >= 1
};

struct StepResult {
  uint64_t step = 0;
  std::vector<SequenceResult> results;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_SCHEDULER_STEP_H_
