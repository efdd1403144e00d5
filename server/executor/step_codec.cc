#include "server/executor/step_codec.h"

namespace tessera::server {
namespace {

namespace v1 = internal::v1;

void ToProto(const SamplingParams& from, v1::SamplingParams* to) {
  to->set_temperature(from.temperature);
  to->set_top_k(from.top_k);
  to->set_top_p(from.top_p);
  to->set_min_p(from.min_p);
  to->set_typical_p(from.typical_p);
  to->set_repetition_penalty(from.repetition_penalty);
  to->set_presence_penalty(from.presence_penalty);
  to->set_frequency_penalty(from.frequency_penalty);
  to->set_seed(from.seed);
  for (const TokenBias& each : from.logit_bias) {
    v1::TokenBias* added = to->add_logit_bias();
    added->set_id(each.id);
    added->set_bias(each.bias);
  }
  to->mutable_allowed_token_ids()->Add(from.allowed_token_ids.begin(),
                                       from.allowed_token_ids.end());
  for (const std::vector<uint32_t>& word : from.bad_words) {
    to->add_bad_words()->mutable_ids()->Add(word.begin(), word.end());
  }
}

void ToProto(const SequenceStart& from, v1::SequenceStart* to) {
  to->set_sequence(from.sequence);
  to->set_admission(from.admission);
  to->set_index(from.index);
  to->mutable_token_ids()->Add(from.token_ids.begin(), from.token_ids.end());
  to->set_prompt_length(from.prompt_length);
  to->set_cached_tokens(from.cached_tokens);
  to->mutable_blocks()->Add(from.blocks.begin(), from.blocks.end());
  ToProto(from.sampling, to->mutable_sampling());
  to->set_max_tokens(from.max_tokens);
  to->set_min_tokens(from.min_tokens);
  to->mutable_stop_token_ids()->Add(from.stop_token_ids.begin(), from.stop_token_ids.end());
  if (from.logprobs) to->set_logprobs(*from.logprobs);
  if (from.prompt_logprobs) to->set_prompt_logprobs(*from.prompt_logprobs);
  to->set_candidates(from.candidates);
}

v1::BlockCopy::Kind ToProto(BlockCopy::Kind kind) {
  switch (kind) {
    case BlockCopy::Kind::kSpill:
      return v1::BlockCopy::SPILL;
    case BlockCopy::Kind::kFetch:
      return v1::BlockCopy::FETCH;
    default:
      return v1::BlockCopy::COPY;
  }
}

Finish FromProto(v1::SequenceResult::Finish finish) {
  switch (finish) {
    case v1::SequenceResult::RUNNING:
      return Finish::kRunning;
    case v1::SequenceResult::STOP:
      return Finish::kStop;
    case v1::SequenceResult::LENGTH:
      return Finish::kLength;
    default:
      return Finish::kFailed;
  }
}

Token FromProto(const v1::Token& from) {
  Token to{.id = from.id(), .logprob = from.logprob()};
  to.top.reserve(from.top_size());
  for (const v1::TopToken& top : from.top()) to.top.push_back({top.id(), top.logprob()});
  to.candidates.reserve(from.candidates_size());
  for (const v1::TopToken& each : from.candidates()) {
    to.candidates.push_back({each.id(), each.logprob()});
  }
  return to;
}

SequenceResult FromProto(const v1::SequenceResult& from) {
  SequenceResult to;
  to.sequence = from.sequence();
  to.admission = from.admission();
  for (const v1::Token& token : from.tokens()) to.tokens.push_back(FromProto(token));
  to.finish = FromProto(from.finish());
  to.error = from.error();
  to.nothing_to_draw = from.nothing_to_draw();
  to.prompt_position = from.prompt_position();
  for (const v1::Token& token : from.prompt_tokens()) to.prompt_tokens.push_back(FromProto(token));
  return to;
}

}  // namespace

void ToProto(const Step& step, v1::Step* to) {
  to->set_step(step.step);
  for (const SequenceStart& start : step.starts) ToProto(start, to->add_starts());
  for (const SequenceStep& from : step.entries) {
    v1::SequenceStep* entry = to->add_entries();
    entry->set_sequence(from.sequence);
    entry->set_num_tokens(from.num_tokens);
    entry->set_max_ids(from.max_ids);
    entry->mutable_new_blocks()->Add(from.new_blocks.begin(), from.new_blocks.end());
  }
  to->mutable_ends()->Add(step.ends.begin(), step.ends.end());
  for (const BlockCopy& from : step.copies) {
    v1::BlockCopy* copy = to->add_copies();
    copy->set_from(from.from);
    copy->set_to(from.to);
    copy->set_kind(ToProto(from.kind));
  }
}

StepResult FromProto(const v1::StepResult& from) {
  StepResult to;
  to.step = from.step();
  to.results.reserve(from.results_size());
  for (const v1::SequenceResult& result : from.results()) to.results.push_back(FromProto(result));
  return to;
}

}  // namespace tessera::server
