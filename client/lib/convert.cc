#include "client/lib/convert.h"

namespace tessera::client {
namespace {

void Fill(const std::vector<uint32_t>& ids, google::protobuf::RepeatedField<uint32_t>* out) {
  out->Add(ids.begin(), ids.end());
}

void Fill(const std::vector<std::string>& values,
          google::protobuf::RepeatedPtrField<std::string>* out) {
  out->Add(values.begin(), values.end());
}

v1::SamplingParams ToProto(const SamplingOptions& options) {
  v1::SamplingParams out;
  if (options.temperature) out.set_temperature(*options.temperature);
  if (options.top_k) out.set_top_k(*options.top_k);
  if (options.top_p) out.set_top_p(*options.top_p);
  if (options.min_p) out.set_min_p(*options.min_p);
  if (options.typical_p) out.set_typical_p(*options.typical_p);
  if (options.repetition_penalty) out.set_repetition_penalty(*options.repetition_penalty);
  if (options.presence_penalty) out.set_presence_penalty(*options.presence_penalty);
  if (options.frequency_penalty) out.set_frequency_penalty(*options.frequency_penalty);
  if (options.seed) out.set_seed(*options.seed);
  if (options.n) out.set_n(*options.n);
  if (options.best_of) out.set_best_of(*options.best_of);
  if (options.beam_width) out.set_beam_width(*options.beam_width);
  if (options.length_penalty) out.set_length_penalty(*options.length_penalty);
  out.mutable_logit_bias()->insert(options.logit_bias.begin(), options.logit_bias.end());
  Fill(options.allowed_token_ids, out.mutable_allowed_token_ids());
  Fill(options.bad_words, out.mutable_bad_words());
  return out;
}

v1::StopConditions ToProto(const StopOptions& options) {
  v1::StopConditions out;
  if (options.max_tokens) out.set_max_tokens(*options.max_tokens);
  if (options.min_tokens) out.set_min_tokens(*options.min_tokens);
  Fill(options.strings, out.mutable_strings());
  Fill(options.token_ids, out.mutable_token_ids());
  if (options.ignore_eos) out.set_ignore_eos(*options.ignore_eos);
  if (options.include_stop_string) out.set_include_stop_string(*options.include_stop_string);
  return out;
}

v1::OutputOptions ToProto(const OutputOptions& options) {
  v1::OutputOptions out;
  if (options.logprobs) out.set_logprobs(*options.logprobs);
  if (options.prompt_logprobs) out.set_prompt_logprobs(*options.prompt_logprobs);
  if (options.echo) out.set_echo(*options.echo);
  if (options.token_ids) out.set_token_ids(*options.token_ids);
  if (options.keep_special_tokens) out.set_keep_special_tokens(*options.keep_special_tokens);
  return out;
}

template <typename Request>
void FillCommon(const CallOptions& options, Request& out) {
  out.set_request_id(options.request_id);
  out.set_model(options.model);
  if (!options.continue_from.empty()) {
    Fill(options.continue_from, out.mutable_continue_from()->mutable_ids());
  }
  *out.mutable_sampling() = ToProto(options.sampling);
  *out.mutable_stop() = ToProto(options.stop);
  *out.mutable_output() = ToProto(options.output);
  out.set_tenant(options.tenant);
  out.set_priority(options.priority);
}

template <typename Request>
void FillConversation(const Conversation& conversation, Request& out) {
  for (const ChatMessage& message : conversation.messages) {
    v1::ChatMessage* added = out.add_messages();
    added->set_role(message.role);
    added->set_content(message.content);
    for (const ToolCall& call : message.tool_calls) {
      v1::ToolCall* tool = added->add_tool_calls();
      tool->set_id(call.id);
      tool->set_name(call.name);
      tool->set_arguments_json(call.arguments_json);
    }
    added->set_tool_call_id(message.tool_call_id);
    added->set_name(message.name);
  }
  Fill(conversation.tools_json, out.mutable_tools_json());
  out.set_chat_template_kwargs_json(conversation.chat_template_kwargs_json);
  if (conversation.add_generation_prompt) {
    out.set_add_generation_prompt(*conversation.add_generation_prompt);
  }
  if (conversation.parse_special_in_content) {
    out.set_parse_special_in_content(*conversation.parse_special_in_content);
  }
}

std::vector<uint32_t> Ids(const google::protobuf::RepeatedField<uint32_t>& ids) {
  return {ids.begin(), ids.end()};
}

std::vector<TokenLogprobs> FromProto(
    const google::protobuf::RepeatedPtrField<v1::TokenLogprobs>& tokens) {
  std::vector<TokenLogprobs> out;
  out.reserve(tokens.size());
  for (const v1::TokenLogprobs& token : tokens) {
    TokenLogprobs& added = out.emplace_back();
    added.token_id = token.token_id();
    if (token.has_logprob()) added.logprob = token.logprob();
    added.token_bytes = token.token_bytes();
    for (const v1::TopLogprob& top : token.top()) {
      added.top.push_back({top.token_id(), top.logprob(), top.token_bytes()});
    }
  }
  return out;
}

FinishReason FromProto(v1::Finished::Reason reason) {
  switch (reason) {
    case v1::Finished::STOP:
      return FinishReason::kStop;
    case v1::Finished::LENGTH:
      return FinishReason::kLength;
    case v1::Finished::CANCELLED:
      return FinishReason::kCancelled;
    default:
      return FinishReason::kUnspecified;
  }
}

Finished FromProto(const v1::Finished& finished) {
  Finished out;
  out.index = finished.index();
  out.reason = FromProto(finished.reason());
  out.usage = {finished.usage().prompt_tokens(), finished.usage().completion_tokens(),
               finished.usage().cached_tokens()};
  out.stop_string = finished.stop_string();
  if (finished.has_stop_token_id()) out.stop_token_id = finished.stop_token_id();
  return out;
}

ServerState FromProto(v1::ServerStatus::State state) {
  switch (state) {
    case v1::ServerStatus::STARTING:
      return ServerState::kStarting;
    case v1::ServerStatus::LOADING:
      return ServerState::kLoading;
    case v1::ServerStatus::READY:
      return ServerState::kReady;
    case v1::ServerStatus::RECOVERING:
      return ServerState::kRecovering;
    case v1::ServerStatus::DRAINING:
      return ServerState::kDraining;
    case v1::ServerStatus::FAILED:
      return ServerState::kFailed;
    default:
      return ServerState::kUnspecified;
  }
}

LatencyFigures FromProto(const v1::Latency& latency) {
  return {.count = latency.count(),
          .mean = latency.mean(),
          .p50 = latency.p50(),
          .p90 = latency.p90(),
          .p99 = latency.p99(),
          .max = latency.max()};
}

EngineFigures FromProto(const v1::EngineFigures& engine) {
  return {.running = engine.running(),
          .waiting = engine.waiting(),
          .requests_total = engine.requests_total(),
          .requests_failed = engine.requests_failed(),
          .requests_cancelled = engine.requests_cancelled(),
          .prompt_tokens_total = engine.prompt_tokens_total(),
          .completion_tokens_total = engine.completion_tokens_total(),
          .steps_total = engine.steps_total(),
          .kv_blocks_total = engine.kv_blocks_total(),
          .kv_blocks_free = engine.kv_blocks_free(),
          .preemptions_total = engine.preemptions_total(),
          .tokens_replayed_total = engine.tokens_replayed_total(),
          .queued = engine.queued(),
          .cached_tokens_total = engine.cached_tokens_total(),
          .prefill_tokens_total = engine.prefill_tokens_total(),
          .output_tokens_per_second = engine.output_tokens_per_second(),
          .workers_seconds = engine.workers_seconds(),
          .server_seconds = engine.server_seconds(),
          .engine_cpu_seconds = engine.engine_cpu_seconds(),
          .queue_time = FromProto(engine.queue_time()),
          .time_to_first_token = FromProto(engine.time_to_first_token()),
          .inter_token = FromProto(engine.inter_token()),
          .end_to_end = FromProto(engine.end_to_end()),
          .step_time = FromProto(engine.step_time()),
          .kv_slots_total = engine.kv_slots_total(),
          .kv_slots_used = engine.kv_slots_used(),
          .blocks_spilled_total = engine.blocks_spilled_total(),
          .blocks_fetched_total = engine.blocks_fetched_total(),
          .fetched_tokens_total = engine.fetched_tokens_total()};
}

GroupStatus FromProto(const v1::GroupStatus& group) {
  GroupStatus out;
  out.state = FromProto(group.state());
  out.epoch = group.epoch();
  out.tp = group.tp();
  out.pp = group.pp();
  out.comm = group.comm();
  out.restarts = group.restarts();
  out.last_loss = group.last_loss();
  out.engine = FromProto(group.engine());
  for (const v1::Loss& loss : group.losses()) {
    Loss& added = out.losses.emplace_back();
    added.epoch = loss.epoch();
    if (loss.has_rank()) added.rank = loss.rank();
    added.cause = loss.cause();
    added.unix_ms = loss.unix_ms();
    if (loss.has_pause_seconds()) added.pause_seconds = loss.pause_seconds();
    added.requests_replayed = loss.requests_replayed();
    added.tokens_replayed = loss.tokens_replayed();
    added.requests_moved = loss.requests_moved();
    added.was_ready = loss.was_ready();
  }
  for (const v1::RankStatus& rank : group.ranks()) {
    out.ranks.push_back({.rank = rank.rank(),
                         .stage = rank.stage(),
                         .tp_index = rank.tp_index(),
                         .address = rank.address(),
                         .pid = rank.pid(),
                         .host = rank.host(),
                         .kernels = rank.kernels(),
                         .weight_bytes = rank.weight_bytes(),
                         .weight_bytes_read = rank.weight_bytes_read(),
                         .kv_bytes = rank.kv_bytes(),
                         .load_fraction = rank.load_fraction(),
                         .busy_seconds = rank.busy_seconds(),
                         .idle_seconds = rank.idle_seconds()});
  }
  return out;
}

}  // namespace

v1::GenerateRequest ToProto(const GenerateOptions& options) {
  v1::GenerateRequest out;
  FillCommon(options, out);
  if (const auto* text = std::get_if<std::string>(&options.prompt)) {
    out.set_text(*text);
  } else {
    Fill(std::get<1>(options.prompt), out.mutable_token_ids()->mutable_ids());
  }
  return out;
}

v1::ChatRequest ToProto(const ChatOptions& options) {
  v1::ChatRequest out;
  FillCommon(options, out);
  FillConversation(options.conversation, out);
  return out;
}

v1::ApplyChatTemplateRequest ToProto(const Conversation& conversation, const std::string& model) {
  v1::ApplyChatTemplateRequest out;
  out.set_model(model);
  FillConversation(conversation, out);
  return out;
}

GenerateEvent FromProto(const v1::GenerateResponse& response) {
  GenerateEvent out;
  out.request_id = response.request_id();
  if (response.has_delta()) {
    const v1::Delta& delta = response.delta();
    out.event =
        Delta{delta.index(), delta.text(), Ids(delta.token_ids()), FromProto(delta.logprobs())};
  } else if (response.has_finished()) {
    out.event = FromProto(response.finished());
  } else {
    const v1::Accepted& accepted = response.accepted();
    out.event =
        Accepted{accepted.seed(), accepted.numerics_id(), accepted.weights_version(),
                 Ids(accepted.prompt_token_ids().ids()), FromProto(accepted.prompt_logprobs())};
  }
  return out;
}

TokenPiece FromProto(const v1::TokenizeResponse::Piece& piece) {
  return {piece.id(), piece.bytes(), piece.begin(), piece.end(), piece.special()};
}

ModelInfo FromProto(const v1::Model& model) {
  return {.name = model.name(),
          .family = model.family(),
          .max_model_len = model.max_model_len(),
          .vocab_size = model.vocab_size(),
          .numerics_id = model.numerics_id(),
          .weights_version = model.weights_version(),
          .num_parameters = model.num_parameters(),
          .has_chat_template = model.has_chat_template()};
}

ServerStatus FromProto(const v1::ServerStatus& status) {
  ServerStatus out;
  out.state = FromProto(status.state());
  out.version = status.version();
  out.model = status.model();
  out.numerics_id = status.numerics_id();
  out.uptime_seconds = status.uptime_seconds();
  for (const v1::GroupStatus& group : status.groups()) out.groups.push_back(FromProto(group));
  out.engine = FromProto(status.engine());
  out.message = status.message();
  return out;
}

}  // namespace tessera::client
