#include "worker/app/step_codec.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tessera::worker {
namespace {

namespace v1 = internal::v1;

SamplingParams FromProto(const v1::SamplingParams& from) {
  SamplingParams to;
  to.temperature = from.temperature();
  to.top_k = from.top_k();
  to.top_p = from.top_p();
  to.min_p = from.min_p();
  to.typical_p = from.typical_p();
  to.repetition_penalty = from.repetition_penalty();
  to.presence_penalty = from.presence_penalty();
  to.frequency_penalty = from.frequency_penalty();
  to.seed = from.seed();
  return to;
}

Restrictions RestrictionsOf(const v1::SamplingParams& from) {
  Restrictions to;
  to.allowed_ids.assign(from.allowed_token_ids().begin(), from.allowed_token_ids().end());
  for (const v1::TokenIds& word : from.bad_words()) {
    to.bad_words.emplace_back(word.ids().begin(), word.ids().end());
  }
  for (const v1::TokenBias& each : from.logit_bias()) {
    to.logit_bias.push_back({each.id(), each.bias()});
  }
  return to;
}

SequenceStart FromProto(const v1::SequenceStart& from) {
  SequenceStart to;
  to.sequence = from.sequence();
  to.admission = from.admission();
  to.index = from.index();
  to.token_ids.assign(from.token_ids().begin(), from.token_ids().end());
  to.prompt_length = from.prompt_length();
  to.cached_tokens = from.cached_tokens();
  to.blocks.assign(from.blocks().begin(), from.blocks().end());
  to.sampling = FromProto(from.sampling());
  to.restrictions = RestrictionsOf(from.sampling());
  to.max_tokens = from.max_tokens();
  to.min_tokens = from.min_tokens();
  to.stop_token_ids.assign(from.stop_token_ids().begin(), from.stop_token_ids().end());
  if (from.has_logprobs()) to.logprobs = from.logprobs();
  if (from.has_prompt_logprobs()) to.prompt_logprobs = from.prompt_logprobs();
  to.candidates = from.candidates();
  return to;
}

v1::SequenceResult::Finish ToProto(Finish finish) {
  switch (finish) {
    case Finish::kRunning:
      return v1::SequenceResult::RUNNING;
    case Finish::kStop:
      return v1::SequenceResult::STOP;
    case Finish::kLength:
      return v1::SequenceResult::LENGTH;
    case Finish::kFailed:
      break;
  }
  return v1::SequenceResult::FAILED;
}

void ToProto(const std::vector<TopToken>& from,
             google::protobuf::RepeatedPtrField<v1::TopToken>* to) {
  to->Reserve(static_cast<int>(from.size()));
  for (const TopToken& each : from) {
    v1::TopToken* added = to->Add();
    added->set_id(each.id);
    added->set_logprob(each.logprob);
  }
}

void ToProto(const Token& from, v1::Token* to) {
  to->set_id(from.id);
  to->set_logprob(from.logprob);
  ToProto(from.top, to->mutable_top());
  ToProto(from.candidates, to->mutable_candidates());
}

}  // namespace

absl::StatusOr<shard_loader::KvFormat> KvFormatOf(const v1::Load& load) {
  if (const auto format = shard_loader::ParseKvFormat(load.kv_dtype())) return *format;
  return absl::UnimplementedError(
      absl::StrCat("KV dtype ", load.kv_dtype(), " is not known to this worker"));
}

namespace {

BlockCopy::Kind KindOf(const v1::BlockCopy& copy) {
  switch (copy.kind()) {
    case v1::BlockCopy::SPILL:
      return BlockCopy::Kind::kSpill;
    case v1::BlockCopy::FETCH:
      return BlockCopy::Kind::kFetch;
    default:
      return BlockCopy::Kind::kCopy;
  }
}

}  // namespace

StepInput FromProto(const v1::Step& step) {
  StepInput input;
  input.step = step.step();
  for (const v1::SequenceStart& start : step.starts()) input.starts.push_back(FromProto(start));
  for (const v1::SequenceStep& entry : step.entries()) {
    input.entries.push_back({.sequence = entry.sequence(),
                             .num_tokens = entry.num_tokens(),
                             .new_blocks = {entry.new_blocks().begin(), entry.new_blocks().end()},
                             .max_ids = std::max(1u, entry.max_ids())});
  }
  input.ends.assign(step.ends().begin(), step.ends().end());
  for (const v1::BlockCopy& copy : step.copies()) {
    input.copies.push_back({copy.from(), copy.to(), KindOf(copy)});
  }
  input.hash_residual = step.hash_residual();
  return input;
}

v1::StepResult ToProto(const StepOutput& output) {
  v1::StepResult result;
  result.set_step(output.step);
  result.set_ids_hash(output.ids_hash);
  result.set_residual_hash(output.residual_hash);
  for (const SequenceResult& from : output.results) {
    v1::SequenceResult* to = result.add_results();
    to->set_sequence(from.sequence);
    to->set_admission(from.admission);
    to->set_finish(ToProto(from.finish));
    to->set_error(from.error);
    to->set_nothing_to_draw(from.nothing_to_draw);
    to->set_prompt_position(from.prompt_position);
    for (const Token& token : from.tokens) ToProto(token, to->add_tokens());
    for (const Token& token : from.prompt_tokens) ToProto(token, to->add_prompt_tokens());
  }
  return result;
}

}  // namespace tessera::worker
