// Which requests a load consists of: decided before it begins, by the seed alone. Pure.
#ifndef TESSERA_CLIENT_BENCH_LOAD_PLAN_H_
#define TESSERA_CLIENT_BENCH_LOAD_PLAN_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/bench/lengths.h"
#include "client/bench/random.h"

namespace tessera::client {

struct PlannedRequest {
  double arrival_s = 0;  // since the begin of an open loop
  uint32_t input_tokens = 0;
  uint32_t output_tokens = 0;
};

// The order in which requests of a load come. Thread-compatible.
class RequestSource {
 public:
  // `rate`: requests a second of a Poisson process; 0: all at 0, for a closed loop.
  RequestSource(LengthDistribution input, LengthDistribution output, double rate, uint64_t seed)
      : input_(input), output_(output), rate_(rate), random_(seed) {}
  PlannedRequest Next();

 private:
  const LengthDistribution input_;
  const LengthDistribution output_;
  const double rate_;
  Random random_;
  double now_s_ = 0;
};

// The requests of a trace, by arrival: one JSON object a line with the numbers "arrival" (seconds),
// "input" and "output" (tokens); empty lines are skipped. INVALID_ARGUMENT names the line.
absl::StatusOr<std::vector<PlannedRequest>> ParseTrace(std::string_view text);

// Prompts as token ids, none of them alike but for what they are told to share.
struct PromptOptions {
  uint32_t vocab_size = 0;
  uint32_t prefix_tokens = 0;  // at the begin of every prompt, which has at least one more
  uint32_t num_prefixes = 1;   // different ones, in turn
  uint64_t seed = 0;
};

// Of the request number `index`. Thread-safe: a function of its arguments.
std::vector<uint32_t> MakePrompt(const PromptOptions& options, uint64_t index, uint32_t tokens);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_BENCH_LOAD_PLAN_H_
