#include "server/engine/engine_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/rpc/status.h"

namespace tessera::server {
namespace {

absl::Status FieldError(std::string_view field, std::string message) {
  absl::Status status = absl::InvalidArgumentError(message);
  rpc::SetFieldViolation(status, field);
  return status;
}

// Why the workers failed a sequence. What a request forbids itself is its own mistake.
absl::Status GivenUp(const SequenceResult& result) {
  if (!result.nothing_to_draw) {
    return absl::InternalError(absl::StrCat("the workers gave this request up: ", result.error));
  }
  return absl::InvalidArgumentError(
      "no token is left to draw: allowed_token_ids, bad_words and min_tokens forbid every one "
      "here; "
      "allow more");
}

}  // namespace

EngineCore::EngineCore(const EngineOptions& options, Environment environment)
    : options_(options), environment_(std::move(environment)) {}

void EngineCore::Submit(uint64_t key, Request request, std::shared_ptr<ResponseStream> stream) {
  Live& live = live_[key];
  live.stream = std::move(stream);
  live.stream->SetDrained([this, key] { environment_.on_drained(key); });
  live.deadline = request.deadline;
  live.request = std::move(request);
  ++num_queued_;
  ++environment_.counters->requests_total;
  if (failed_) return End(key, *failed_);
  if (ready()) Admit(key, live);
}

void EngineCore::Admit(uint64_t key, Live& live) {
  if (!live.sequence) {
    const Request& request = *live.request;
    uint64_t cache = uint64_t{facts_.num_kv_blocks} * facts_.block_size;
    uint64_t longest = std::min<uint64_t>(facts_.max_model_len, cache);
    uint64_t wanted = request.prompt.size() +
                      std::max<uint64_t>(request.max_tokens.value_or(1),
                                         std::max<uint64_t>(request.continue_from.size(), 1));
    if (wanted > longest) {
      return End(key, FieldError(request.max_tokens ? "stop.max_tokens" : "prompt",
                                 absl::StrCat("the prompt and the answer need ", wanted,
                                              " tokens, but this server holds at most ", longest,
                                              " of one request; send less or ask for less")));
    }
    environment_.counters->prompt_tokens_total += request.prompt.size();
    live.sequence = std::make_unique<Sequence>(*std::exchange(live.request, std::nullopt), longest,
                                               *environment_.tokenizer);
    if (!live.sequence->request().prompt_logprobs) Accept(live);
    if (live.sequence->finished()) return Finish(key);
  }
  const Sequence& sequence = *live.sequence;
  uint32_t length = static_cast<uint32_t>(sequence.log().size());
  if (!scheduler_->Add(key, length, sequence.prompt_length() + sequence.max_tokens())) {
    return End(key, absl::InvalidArgumentError(absl::StrCat(
                        "the request may need ", sequence.prompt_length() + sequence.max_tokens(),
                        " tokens of KV cache, which the group no longer has")));
  }
  scheduler_->SetPaused(key, live.paused_since.has_value());
}

void EngineCore::Accept(Live& live) {
  live.accepted = true;
  live.stream->Push(AcceptedEvent{.seed = live.sequence->request().sampling.seed,
                                  .numerics_id = facts_.numerics_id,
                                  .weights_version = facts_.weights_version,
                                  .prompt_logprobs = live.sequence->TakePromptLogprobs()});
}

void EngineCore::Cancel(uint64_t key, const absl::Status& status) { End(key, status); }

void EngineCore::CancelAll(const absl::Status& status) {
  while (!live_.empty()) End(live_.begin()->first, status);
}

void EngineCore::Drained(uint64_t key) {
  auto it = live_.find(key);
  if (it == live_.end()) return;
  it->second.paused_since.reset();
  if (ready()) scheduler_->SetPaused(key, false);
}

void EngineCore::OnReady(uint64_t epoch, const GroupFacts& facts) {
  epoch_ = epoch;
  facts_ = facts;
  step_.reset();
  scheduler_ = std::make_unique<Scheduler>(
      SchedulerLimits{.max_num_batched_tokens = facts.max_num_batched_tokens,
                      .max_num_seqs = facts.max_num_seqs,
                      .block_size = facts.block_size,
                      .num_blocks = facts.num_kv_blocks});
  std::vector<uint64_t> oldest_first;
  for (const auto& [key, live] : live_) oldest_first.push_back(key);
  for (uint64_t key : oldest_first) Admit(key, live_.at(key));
}

void EngineCore::OnLost(uint64_t epoch) {
  if (!ready() || epoch != epoch_) return;
  earlier_preemptions_ += scheduler_->num_preemptions();
  // OnReady gives every log to a new one.
  scheduler_.reset();
  step_.reset();
}

void EngineCore::OnFailed(const absl::Status& why) {
  failed_ = absl::UnavailableError(
      absl::StrCat("the model cannot be served: ", std::string(why.message())));
  scheduler_.reset();
  step_.reset();
  CancelAll(*failed_);
}

void EngineCore::OnStep(uint64_t epoch, StepResult result) {
  if (!ready() || epoch != epoch_ || step_ != result.step) return;
  step_.reset();
  ++environment_.counters->steps_total;
  std::map<uint64_t, uint32_t> drawn;
  for (SequenceResult& part : result.results) Apply(part.sequence, part, drawn);
  for (uint64_t key : step_sequences_) {
    // A worker that computed all that is known has drawn a token, or ended the sequence.
    if (live_.count(key) > 0 && scheduler_->Draws(key) && drawn.count(key) == 0) {
      End(key, absl::InternalError("the workers returned no token for a finished prompt"));
    }
  }
  scheduler_->Completed(drawn);
  for (uint64_t key : step_sequences_) {
    auto it = live_.find(key);
    if (it != live_.end() && it->second.sequence->finished()) Finish(key);
  }
}

void EngineCore::Apply(uint64_t key, SequenceResult& result, std::map<uint64_t, uint32_t>& drawn) {
  auto it = live_.find(key);
  // Ended, or preempted and started again, since the step was sent.
  if (it == live_.end() || it->second.admission != result.admission) return;
  Live& live = it->second;
  live.sequence->AddPromptLogprobs(result.prompt_position, std::move(result.prompt_tokens));
  if (result.finish == Finish::kFailed) {
    return End(key, GivenUp(result));
  }
  if (result.tokens.empty()) return;
  if (!live.accepted) Accept(live);
  drawn[key] = static_cast<uint32_t>(result.tokens.size());
  DeltaEvent delta = live.sequence->Append(std::move(result.tokens));
  environment_.counters->completion_tokens_total += delta.tokens.size();
  live.stream->Push(std::move(delta));
  if (!live.sequence->finished()) {
    if (result.finish != Finish::kRunning) {
      return End(key, absl::InternalError("the workers ended a sequence before its end"));
    }
    if (live.stream->full()) Pause(key, live);
  }
}

void EngineCore::Pause(uint64_t key, Live& live) {
  if (live.paused_since) return;
  live.paused_since = now_;
  scheduler_->SetPaused(key, true);
}

void EngineCore::Finish(uint64_t key) {
  Live& live = live_.at(key);
  if (!live.accepted) Accept(live);
  live.stream->Push(*live.sequence->finished());
  End(key, absl::OkStatus());
}

void EngineCore::End(uint64_t key, const absl::Status& status, bool discard) {
  auto it = live_.find(key);
  if (it == live_.end()) return;
  Live live = std::move(it->second);
  live_.erase(it);
  LeaveQueue(live);
  if (scheduler_) scheduler_->Remove(key);
  if (absl::IsCancelled(status) || absl::IsDeadlineExceeded(status)) {
    ++environment_.counters->requests_cancelled;
  } else if (!status.ok()) {
    ++environment_.counters->requests_failed;
  }
  environment_.on_end(live.sequence ? live.sequence->request() : *live.request);
  live.stream->End(status, discard);
}

void EngineCore::LeaveQueue(Live& live) {
  if (!live.queued) return;
  live.queued = false;
  --num_queued_;
}

void EngineCore::EndOverdue() {
  std::vector<std::pair<uint64_t, bool>> overdue;  // key, slow reader
  for (const auto& [key, live] : live_) {
    bool slow = live.paused_since && now_ >= *live.paused_since + options_.slow_reader_timeout;
    if (slow || now_ >= live.deadline) overdue.push_back({key, slow});
  }
  for (auto [key, slow] : overdue) {
    if (slow) {
      End(key,
          absl::CancelledError(absl::StrCat("the answer was not read for ",
                                            absl::FormatDuration(options_.slow_reader_timeout))),
          /*discard=*/true);
    } else {
      End(key, absl::DeadlineExceededError("the request's deadline has passed"));
    }
  }
}

absl::Time EngineCore::NextDeadline() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [key, live] : live_) {
    next = std::min(next, live.deadline);
    if (live.paused_since) next = std::min(next, *live.paused_since + options_.slow_reader_timeout);
  }
  return next;
}

void EngineCore::Tick(absl::Time now) {
  now_ = now;
  EndOverdue();
  if (ready() && !step_) NextStep();
  PublishFigures();
}

void EngineCore::NextStep() {
  std::optional<Step> step = scheduler_->Next();
  if (!step) return;
  for (SequenceStart& start : step->starts) {
    Live& live = live_.at(start.sequence);
    LeaveQueue(live);
    live.admission = start.admission;
    start = live.sequence->Start(start.sequence, start.admission);
  }
  step_sequences_.clear();
  for (const SequenceStep& entry : step->entries) step_sequences_.push_back(entry.sequence);
  step_ = step->step;
  environment_.executor->Submit(epoch_, *step);
}

void EngineCore::PublishFigures() {
  Counters& counters = *environment_.counters;
  counters.running = ready() ? scheduler_->num_resident() : 0;
  counters.waiting = live_.size() - counters.running;
  if (!ready()) return;
  counters.kv_blocks_total = scheduler_->pool().num_blocks();
  counters.kv_blocks_free = scheduler_->pool().num_free();
  counters.preemptions_total = earlier_preemptions_ + scheduler_->num_preemptions();
}

}  // namespace tessera::server
