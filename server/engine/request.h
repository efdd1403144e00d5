// A request and its answer as the engine sees them: plain data, everything resolved.
#ifndef TESSERA_SERVER_ENGINE_REQUEST_H_
#define TESSERA_SERVER_ENGINE_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/scheduler/step.h"

namespace tessera::server {

struct Request {
  std::string id;                       // unique among the requests that live
  std::vector<uint32_t> prompt;         // not empty
  std::vector<uint32_t> continue_from;  // generated before; counts as generated
  SamplingParams sampling;              // with the seed
  std::optional<uint32_t> max_tokens;   // none: to the end of the context; 0: the prompt alone
  uint32_t min_tokens = 0;              // before it no stop id is drawn and no stop string counts
  std::vector<std::string> stop_strings;
  std::vector<uint32_t> stop_token_ids;  // those of the model included, unless they are ignored
  bool include_stop = false;             // the text of what stopped it is part of the answer
  bool keep_special_tokens = false;      // in the text
  // The `n` of `best_of` sequences whose logprobs have the highest sums; at least n.
  uint32_t n = 1;
  uint32_t best_of = 1;
  // Beam search instead of drawing: the n best of so many beams.
  std::optional<uint32_t> beam_width;
  float length_penalty = 1;
  std::optional<uint32_t> logprobs;
  std::optional<uint32_t> prompt_logprobs;
  bool echo = false;     // the prompt is told with the answers, and computed for them
  std::string tenant;    // whose share of the server it uses
  int32_t priority = 0;  // the higher, the sooner
  absl::Time arrival = absl::UnixEpoch();
  absl::Time deadline = absl::InfiniteFuture();
};

// The first event. With prompt logprobs it comes when the prompt has been computed.
struct AcceptedEvent {
  uint64_t seed = 0;
  std::string numerics_id;
  std::string weights_version;
  std::vector<Token> prompt_logprobs;  // of the prompt's tokens from the second on
};

// Text that is certain, and tokens that are in the log; either may be ahead of the other.
struct DeltaEvent {
  uint32_t index = 0;  // of the sequence in its request
  std::string text;
  std::vector<Token> tokens;
};

enum class FinishReason { kStop, kLength };

struct FinishedEvent {
  uint32_t index = 0;
  FinishReason reason = FinishReason::kStop;
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;  // those of continue_from included
  uint32_t cached_tokens = 0;      // of the prompt, found computed
  std::string stop_string;
  std::optional<uint32_t> stop_token_id;
};

// The last event: OK after a FinishedEvent, or why there is no answer.
using ResponseEvent = std::variant<AcceptedEvent, DeltaEvent, FinishedEvent, absl::Status>;

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_REQUEST_H_
