// Puts a load on a server and measures what it answers.
#ifndef TESSERA_CLIENT_BENCH_LOAD_RUN_H_
#define TESSERA_CLIENT_BENCH_LOAD_RUN_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "client/bench/load_plan.h"
#include "client/bench/percentiles.h"
#include "client/lib/many_streams.h"
#include "client/lib/request.h"

namespace tessera::client {

struct LoadOptions {
  int clients =
      0;  // of a closed loop: each sends its next request when the last has ended; 0: open
  uint64_t max_requests = 0;   // 0: no limit
  double duration_s = 0;       // for which requests are sent; 0: no limit
  double grace_s = 60;         // that those under way get after that
  uint32_t max_model_len = 0;  // answers are cut so that prompt and answer fit
  PromptOptions prompts;
  GenerateOptions request;  // what all have in common; prompt, max_tokens and seed are set here
};

struct LoadProgress {
  double seconds = 0;
  uint64_t sent = 0;
  uint64_t ended = 0;
  uint64_t failed = 0;
  uint64_t tokens = 0;
};

struct LoadResult {
  double seconds = 0;  // from the first request to the last end
  uint64_t sent = 0;
  uint64_t succeeded = 0;
  std::map<std::string, uint64_t> failures;  // by code and message
  uint64_t prompt_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t output_tokens = 0;
  uint64_t messages = 0;  // with text or tokens
  uint64_t peak_streams = 0;
  uint64_t shortened = 0;  // answers, to fit the model's context
  // From when the request was due (in a closed loop: sent) to its first token, and to its end.
  Percentiles ttft;
  Percentiles end_to_end;
  Percentiles
      inter_token;         // gaps between messages, shared by the tokens that the later one brought
  Percentiles lateness;    // of this generator, in an open loop
  double cpu_seconds = 0;  // of this process
  int cpus = 1;            // of this machine

  uint64_t failed() const;
};

// Sends what `next` gives until it gives nothing more or a limit of the options is reached; then
// waits for the answers. `stop` ends it early, `progress` is called now and again.
LoadResult RunLoad(ManyStreams& streams, const LoadOptions& options,
                   const std::function<std::optional<PlannedRequest>()>& next,
                   const std::atomic<bool>& stop,
                   const std::function<void(const LoadProgress&)>& progress);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_BENCH_LOAD_RUN_H_
