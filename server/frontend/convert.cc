#include "server/frontend/convert.h"

#include <algorithm>
#include <variant>

#include "absl/types/span.h"

namespace tessera::server {
namespace {

// Tokens of an echoed prompt in one message: with their logprobs far below a client's limit.
constexpr size_t kEchoTokens = 512;

// `count`: of the alternatives; the event may have more.
void FillLogprobs(const Token& token, uint32_t count, const AnswerFormat& format,
                  v1::TokenLogprobs& out) {
  out.set_token_id(token.id);
  out.set_logprob(token.logprob);
  out.set_token_bytes(format.tokenizer->TokenBytes(token.id));
  for (const TopToken& top : absl::MakeConstSpan(token.top).subspan(0, count)) {
    auto* entry = out.add_top();
    entry->set_token_id(top.id);
    entry->set_logprob(top.logprob);
    entry->set_token_bytes(format.tokenizer->TokenBytes(top.id));
  }
}

// The prompt's tokens that can be told of: all, unless the answer was over before it was computed.
size_t PromptTokens(const AcceptedEvent& event, const AnswerFormat& format) {
  return std::min(format.prompt.size(), event.prompt_logprobs.size() + 1);
}

// Of the prompt's token `i`: the first has no logprob.
void FillPromptLogprobs(const AcceptedEvent& event, size_t i, uint32_t count,
                        const AnswerFormat& format, v1::TokenLogprobs& out) {
  if (i > 0) return FillLogprobs(event.prompt_logprobs[i - 1], count, format, out);
  out.set_token_id(format.prompt[0]);
  out.set_token_bytes(format.tokenizer->TokenBytes(format.prompt[0]));
}

void Fill(const AcceptedEvent& event, const AnswerFormat& format, v1::Accepted& out) {
  out.set_seed(event.seed);
  out.set_numerics_id(event.numerics_id);
  out.set_weights_version(event.weights_version);
  if (format.token_ids) {
    out.mutable_prompt_token_ids()->mutable_ids()->Assign(format.prompt.begin(),
                                                          format.prompt.end());
  }
  for (size_t i = 0; format.prompt_logprobs && i < PromptTokens(event, format); ++i) {
    FillPromptLogprobs(event, i, *format.prompt_logprobs, format, *out.add_prompt_logprobs());
  }
}

bool Fill(const DeltaEvent& event, const AnswerFormat& format, v1::Delta& out) {
  out.set_index(event.index);
  out.set_text(event.text);
  for (const Token& token : event.tokens) {
    if (format.token_ids) out.add_token_ids(token.id);
    if (format.logprobs) FillLogprobs(token, *format.logprobs, format, *out.add_logprobs());
  }
  return !out.text().empty() || out.token_ids_size() > 0 || out.logprobs_size() > 0;
}

void Fill(const FinishedEvent& event, v1::Finished& out) {
  out.set_index(event.index);
  out.set_reason(event.reason == FinishReason::kStop ? v1::Finished::STOP : v1::Finished::LENGTH);
  out.mutable_usage()->set_prompt_tokens(event.prompt_tokens);
  out.mutable_usage()->set_completion_tokens(event.completion_tokens);
  out.mutable_usage()->set_cached_tokens(event.cached_tokens);
  out.set_stop_string(event.stop_string);
  if (event.stop_token_id) out.set_stop_token_id(*event.stop_token_id);
}

// The prompt as the first part of an answer: all of its text, then its logprobs in pieces.
void AddEcho(const AcceptedEvent& event, uint32_t index, const AnswerFormat& format,
             std::vector<v1::GenerateResponse>& out) {
  v1::Delta* delta = out.emplace_back().mutable_delta();
  delta->set_index(index);
  delta->set_text(*format.echo);
  for (size_t i = 0; format.logprobs && i < PromptTokens(event, format); ++i) {
    if (i > 0 && i % kEchoTokens == 0) {
      delta = out.emplace_back().mutable_delta();
      delta->set_index(index);
    }
    FillPromptLogprobs(event, i, *format.logprobs, format, *delta->add_logprobs());
  }
}

double Seconds(uint64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

void Fill(const LatencyHistogram::Summary& summary, v1::Latency& out) {
  out.set_count(summary.count);
  if (summary.count > 0) out.set_mean(summary.sum_seconds / static_cast<double>(summary.count));
  out.set_p50(summary.p50_seconds);
  out.set_p90(summary.p90_seconds);
  out.set_p99(summary.p99_seconds);
  out.set_max(summary.max_seconds);
}

}  // namespace

std::vector<v1::GenerateResponse> ToResponses(const ResponseEvent& event,
                                              const AnswerFormat& format) {
  std::vector<v1::GenerateResponse> out(1);
  if (const auto* accepted = std::get_if<AcceptedEvent>(&event)) {
    Fill(*accepted, format, *out[0].mutable_accepted());
    for (uint32_t i = 0; format.echo && i < format.n; ++i) AddEcho(*accepted, i, format, out);
  } else if (const auto* delta = std::get_if<DeltaEvent>(&event)) {
    if (!Fill(*delta, format, *out[0].mutable_delta())) return {};
  } else {
    Fill(std::get<FinishedEvent>(event), *out[0].mutable_finished());
  }
  for (v1::GenerateResponse& response : out) response.set_request_id(format.request_id);
  return out;
}

v1::EngineFigures ToProto(const std::vector<const Counters*>& replicas, absl::Time now) {
  v1::EngineFigures out;
  auto sum = [&replicas](Counters::Count Counters::*count) {
    uint64_t all = 0;
    for (const Counters* counters : replicas) all += counters->*count;
    return all;
  };
  auto fill = [&replicas](LatencyHistogram Counters::*histogram, v1::Latency& latency) {
    std::vector<const LatencyHistogram*> parts;
    for (const Counters* counters : replicas) parts.push_back(&(counters->*histogram));
    Fill(LatencyHistogram::Read(parts), latency);
  };
  out.set_running(sum(&Counters::running));
  out.set_waiting(sum(&Counters::waiting));
  out.set_requests_total(sum(&Counters::requests_total));
  out.set_requests_failed(sum(&Counters::requests_failed));
  out.set_requests_cancelled(sum(&Counters::requests_cancelled));
  out.set_prompt_tokens_total(sum(&Counters::prompt_tokens_total));
  out.set_completion_tokens_total(sum(&Counters::completion_tokens_total));
  out.set_steps_total(sum(&Counters::steps_total));
  out.set_kv_blocks_total(sum(&Counters::kv_blocks_total));
  out.set_kv_blocks_free(sum(&Counters::kv_blocks_free));
  out.set_preemptions_total(sum(&Counters::preemptions_total));
  out.set_tokens_replayed_total(sum(&Counters::tokens_replayed_total));
  out.set_queued(sum(&Counters::queued));
  out.set_cached_tokens_total(sum(&Counters::cached_tokens_total));
  out.set_prefill_tokens_total(sum(&Counters::prefill_tokens_total));
  out.set_kv_slots_total(sum(&Counters::kv_slots_total));
  out.set_kv_slots_used(sum(&Counters::kv_slots_used));
  out.set_blocks_spilled_total(sum(&Counters::blocks_spilled_total));
  out.set_blocks_fetched_total(sum(&Counters::blocks_fetched_total));
  out.set_fetched_tokens_total(sum(&Counters::fetched_tokens_total));
  double rate = 0;
  for (const Counters* counters : replicas) rate += counters->output_tokens.Read(now);
  out.set_output_tokens_per_second(rate);
  out.set_workers_seconds(Seconds(sum(&Counters::workers_ns)));
  out.set_server_seconds(Seconds(sum(&Counters::server_ns)));
  out.set_engine_cpu_seconds(Seconds(sum(&Counters::engine_cpu_ns)));
  fill(&Counters::queue_time, *out.mutable_queue_time());
  fill(&Counters::time_to_first_token, *out.mutable_time_to_first_token());
  fill(&Counters::inter_token, *out.mutable_inter_token());
  fill(&Counters::end_to_end, *out.mutable_end_to_end());
  fill(&Counters::step_time, *out.mutable_step_time());
  return out;
}

v1::ServerStatus::State ToProto(GroupState state) {
  switch (state) {
    case GroupState::kStarting:
      return v1::ServerStatus::STARTING;
    case GroupState::kLoading:
      return v1::ServerStatus::LOADING;
    case GroupState::kReady:
      return v1::ServerStatus::READY;
    case GroupState::kRecovering:
      return v1::ServerStatus::RECOVERING;
    case GroupState::kStopped:
      return v1::ServerStatus::DRAINING;
    case GroupState::kFailed:
      return v1::ServerStatus::FAILED;
  }
  return v1::ServerStatus::STATE_UNSPECIFIED;
}

v1::ServerStatus::State ToProto(const EngineCondition& condition,
                                const std::vector<GroupStatus>& groups) {
  const bool loading = std::any_of(groups.begin(), groups.end(), [](const GroupStatus& group) {
    return group.state == GroupState::kLoading;
  });
  switch (condition.state) {
    case EngineState::kStarting:
      return loading ? v1::ServerStatus::LOADING : v1::ServerStatus::STARTING;
    case EngineState::kReady:
      return v1::ServerStatus::READY;
    case EngineState::kRecovering:
      return v1::ServerStatus::RECOVERING;
    case EngineState::kDraining:
      return v1::ServerStatus::DRAINING;
    case EngineState::kFailed:
      return v1::ServerStatus::FAILED;
  }
  return v1::ServerStatus::STATE_UNSPECIFIED;
}

v1::Loss ToProto(const LossRecord& loss) {
  v1::Loss out;
  out.set_epoch(loss.epoch);
  if (loss.rank) out.set_rank(*loss.rank);
  out.set_cause(loss.cause);
  out.set_unix_ms(absl::ToUnixMillis(loss.at));
  if (loss.pause) out.set_pause_seconds(absl::ToDoubleSeconds(*loss.pause));
  out.set_requests_replayed(loss.requests_replayed);
  out.set_tokens_replayed(loss.tokens_replayed);
  out.set_requests_moved(loss.requests_moved);
  out.set_was_ready(loss.was_ready);
  return out;
}

v1::GroupStatus ToProto(const GroupStatus& status) {
  v1::GroupStatus out;
  out.set_state(ToProto(status.state));
  out.set_epoch(status.epoch);
  out.set_tp(status.tp);
  out.set_pp(status.pp);
  out.set_comm(status.comm);
  out.set_restarts(status.restarts);
  out.set_last_loss(status.last_loss);
  for (const RankStatus& rank : status.ranks) {
    auto* entry = out.add_ranks();
    entry->set_rank(rank.rank);
    entry->set_stage(rank.stage);
    entry->set_tp_index(rank.tp_index);
    entry->set_address(rank.address);
    entry->set_pid(static_cast<uint32_t>(rank.pid));
    entry->set_host(rank.host);
    entry->set_kernels(rank.kernels);
    entry->set_weight_bytes(rank.weight_bytes);
    entry->set_weight_bytes_read(rank.weight_bytes_read);
    entry->set_kv_bytes(rank.kv_bytes);
    entry->set_load_fraction(rank.load_fraction);
    entry->set_busy_seconds(rank.busy_seconds);
    entry->set_idle_seconds(rank.idle_seconds);
  }
  return out;
}

}  // namespace tessera::server
