// When a spilled block is worth fetching: a matter of speed alone, never of the answer.
#ifndef TESSERA_SERVER_KV_OFFLOAD_COSTS_H_
#define TESSERA_SERVER_KV_OFFLOAD_COSTS_H_

#include <cstdint>

namespace tessera::server {

struct OffloadCosts {
  double block_seconds = 0;  // of a fetch, on the slowest rank
  double token_seconds = 0;  // of computing a token of a prompt; 0: none has been seen yet
};

// Whether fetching `blocks` takes less time than computing the `tokens` that they save. What is not
// known yet counts as dear: the slots were asked for.
inline bool FetchIsCheaper(const OffloadCosts& costs, uint32_t blocks, uint32_t tokens) {
  if (costs.token_seconds <= 0) return tokens > 0;
  return costs.block_seconds * blocks < costs.token_seconds * tokens;
}

// Seconds per token, from the steps that compute prompts: a mean in which the last ones count most.
class PromptPace {
 public:
  // A step of `tokens`, `prompt_tokens` of them more than one of a sequence, took `seconds`. Steps
  // that mostly generate tell nothing of prompts.
  void Add(uint32_t tokens, uint32_t prompt_tokens, double seconds) {
    if (prompt_tokens < kLeast || 2 * prompt_tokens < tokens || seconds <= 0) return;
    const double now = seconds / tokens;
    mean_ = mean_ == 0 ? now : mean_ + kWeight * (now - mean_);
  }
  double token_seconds() const { return mean_; }  // 0: not known

 private:
  static constexpr uint32_t kLeast = 16;
  static constexpr double kWeight = 0.2;
  double mean_ = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_KV_OFFLOAD_COSTS_H_
