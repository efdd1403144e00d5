#include "server/engine/sequence.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace tessera::server {
namespace {

// Ids of the prompt's end that decide how its first generated ids read (a leading space, a
// character in parts of bytes): more than four bytes of one character are not possible.
constexpr size_t kDecodeContext = 8;

uint32_t ResolveMaxTokens(const Request& request, uint32_t max_length) {
  uint32_t room = max_length - static_cast<uint32_t>(request.prompt.size());
  return std::clamp(request.max_tokens.value_or(room), 1u, room);
}

}  // namespace

Sequence::Sequence(Request request, uint32_t max_length, const Tokenizer& tokenizer)
    : request_(std::move(request)),
      max_tokens_(ResolveMaxTokens(request_, max_length)),
      log_(request_.prompt),
      detokenizer_(tokenizer, !request_.keep_special_tokens),
      stop_matcher_(request_.stop_strings, request_.include_stop) {
  assert(!log_.empty() && max_length > log_.size());
  size_t context = std::min(log_.size(), kDecodeContext);
  for (size_t i = log_.size() - context; i < log_.size(); ++i) detokenizer_.Append(log_[i]);
  for (uint32_t id : request_.continue_from) {
    if (!finished_) AppendId(id);
  }
  if (prompt_alone() && !request_.prompt_logprobs) Finish(FinishReason::kLength);
}

DeltaEvent Sequence::Append(std::vector<Token> tokens) {
  DeltaEvent delta;
  if (prompt_alone() && !finished_) Finish(FinishReason::kLength);
  for (Token& token : tokens) {
    if (finished_) break;
    delta.text += AppendId(token.id);
    delta.tokens.push_back(std::move(token));
  }
  return delta;
}

bool Sequence::IsStopToken(uint32_t id) const {
  return std::find(request_.stop_token_ids.begin(), request_.stop_token_ids.end(), id) !=
         request_.stop_token_ids.end();
}

std::string Sequence::AppendId(uint32_t id) {
  log_.push_back(id);
  if (IsStopToken(id) && generated() > request_.min_tokens) {
    std::string last = request_.include_stop ? detokenizer_.Append(id) : "";
    return EndAt(FinishReason::kStop, id, std::move(last));
  }
  std::string text = detokenizer_.Append(id);
  if (generated() > request_.min_tokens) text = Match(text);
  if (!finished_ && generated() >= max_tokens_) {
    text += EndAt(FinishReason::kLength, std::nullopt, "");
  }
  return text;
}

std::string Sequence::Match(std::string_view text) {
  std::string out = stop_matcher_.Push(text);
  if (stop_matcher_.stopped()) Finish(FinishReason::kStop);
  return out;
}

void Sequence::Finish(FinishReason reason) {
  finished_ = FinishedEvent{.reason = reason,
                            .prompt_tokens = prompt_length(),
                            .completion_tokens = generated(),
                            .stop_string = stop_matcher_.matched(),
                            .stop_token_id = std::nullopt};
}

std::string Sequence::EndAt(FinishReason reason, std::optional<uint32_t> stop_token_id,
                            std::string last) {
  // The last bytes, decided only now, may still complete a stop string.
  std::string text = Match(last + detokenizer_.Finish());
  if (stop_matcher_.stopped()) return text;
  Finish(reason);
  finished_->stop_token_id = stop_token_id;
  return text + stop_matcher_.Finish();
}

void Sequence::Describe(SequenceStart& start) const {
  start.token_ids = log_;
  start.prompt_length = prompt_length();
  start.sampling = request_.sampling;
  start.max_tokens = max_tokens_;
  start.min_tokens = request_.min_tokens;
  start.stop_token_ids = request_.stop_token_ids;
  start.logprobs = request_.logprobs;
  if (!prompt_logprobs_taken_) start.prompt_logprobs = request_.prompt_logprobs;
}

void Sequence::AddPromptLogprobs(uint32_t position, std::vector<Token> tokens) {
  if (prompt_logprobs_taken_) return;
  for (Token& token : tokens) {
    // The first of the prompt has none.
    if (position == prompt_logprobs_.size() + 1 && position < prompt_length()) {
      prompt_logprobs_.push_back(std::move(token));
    }
    ++position;
  }
}

std::vector<Token> Sequence::TakePromptLogprobs() {
  prompt_logprobs_taken_ = true;
  return std::exchange(prompt_logprobs_, {});
}

}  // namespace tessera::server
