// One sequence: its log, which is the truth about it, and the text that follows from the log.
#ifndef TESSERA_SERVER_ENGINE_SEQUENCE_H_
#define TESSERA_SERVER_ENGINE_SEQUENCE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/engine/request.h"
#include "server/text/detokenizer.h"
#include "server/text/stop_matcher.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

// Decides when the sequence has ended: at a stop id, a stop string, or its length. Its text is a
// function of the log and the request alone, so a sequence made anew from `continue_from` goes on
// with exactly the text that the first one had not returned yet. Owned by one thread; borrows the
// tokenizer.
class Sequence {
 public:
  // `max_length`: tokens of prompt and answer that the model and the cache can hold; more than the
  // prompt has. The replay of continue_from may already end the sequence (finished()).
  Sequence(Request request, uint32_t max_length, const Tokenizer& tokenizer);

  // Takes ids that a step drew, in order, into the log; those behind the end are dropped. Returns
  // what the reader may see now.
  DeltaEvent Append(std::vector<Token> tokens);

  // Set from the moment the sequence has ended.
  const std::optional<FinishedEvent>& finished() const { return finished_; }

  const Request& request() const { return request_; }
  const std::vector<uint32_t>& log() const { return log_; }
  uint32_t prompt_length() const { return static_cast<uint32_t>(request_.prompt.size()); }
  uint32_t generated() const { return static_cast<uint32_t>(log_.size()) - prompt_length(); }
  // That the workers may generate: at least one, also where the answer is to have none.
  uint32_t max_tokens() const { return max_tokens_; }

  // Fills in what the workers are told of the sequence, beside what the scheduler knows.
  void Describe(SequenceStart& start) const;

  // Prompt logprobs come in order, but again after a preemption: known ones are dropped.
  void AddPromptLogprobs(uint32_t position, std::vector<Token> tokens);
  bool prompt_logprobs_complete() const {
    return !request_.prompt_logprobs || prompt_logprobs_.size() + 1 == request_.prompt.size();
  }
  std::vector<Token> TakePromptLogprobs();

 private:
  // The text that `id` adds, with the end that it brings.
  std::string AppendId(uint32_t id);
  // What of `text` may go out; ends the sequence where a stop string is complete.
  std::string Match(std::string_view text);
  // Ends the sequence; the text that was held back, with `last` behind it.
  std::string EndAt(FinishReason reason, std::optional<uint32_t> stop_token_id, std::string last);
  void Finish(FinishReason reason);
  bool IsStopToken(uint32_t id) const;
  bool prompt_alone() const { return request_.max_tokens == 0u; }

  Request request_;
  uint32_t max_tokens_;
  std::vector<uint32_t> log_;
  std::vector<Token> prompt_logprobs_;
  bool prompt_logprobs_taken_ = false;
  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
  std::optional<FinishedEvent> finished_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_SEQUENCE_H_
