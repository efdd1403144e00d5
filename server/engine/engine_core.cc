#include "server/engine/engine_core.h"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "proto/rpc/error_site.h"
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
  std::unique_ptr<Live>& slot = live_[key];
  slot = std::make_unique<Live>();
  Live& live = *slot;
  live.stream = std::move(stream);
  live.stream->SetDrained([this, key] { environment_.on_drained(key); });
  live.arrival = request.arrival;
  live.deadline = request.deadline;
  SetWake(key, live);
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
  SequenceInfo info = InfoOf(live);
  if (!scheduler_->Add(key, info)) {
    return End(key, absl::InvalidArgumentError(
                        absl::StrCat("the request may need ", info.max_length,
                                     " tokens of KV cache, which the group no longer has")));
  }
  scheduler_->SetPaused(key, live.paused_since || suspects_.Held(key));
}

SequenceInfo EngineCore::InfoOf(const Live& live) const {
  const Sequence& sequence = *live.sequence;
  SequenceInfo info;
  info.log = &sequence.log();
  info.max_length = sequence.prompt_length() + sequence.max_tokens();
  info.arrival = live.arrival;
  // Of what is found in the cache there are no logits.
  info.reads_cache = !sequence.request().prompt_logprobs.has_value();
  info.cache_scope = absl::StrCat(facts_.numerics_id, "/", facts_.weights_version);
  return info;
}

EngineCore::Live* EngineCore::Find(uint64_t key) {
  auto it = live_.find(key);
  return it == live_.end() ? nullptr : it->second.get();
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
  for (uint64_t key : Keys()) End(key, status);
}

void EngineCore::Drained(uint64_t key) {
  Live* live = Find(key);
  if (live == nullptr) return;
  live->paused_since.reset();
  SetWake(key, *live);
  UpdatePaused();
}

void EngineCore::UpdatePaused() {
  if (!ready()) return;
  for (const auto& [key, live] : live_) {
    scheduler_->SetPaused(key, live->paused_since || suspects_.Held(key));
  }
}

void EngineCore::OnReady(uint64_t epoch, const GroupFacts& facts, absl::Time now) {
  if (std::optional<LossRecord> loss = environment_.losses->Back(now)) {
    spdlog::info("the group is back after {}: {} requests go on, {} tokens are computed again",
                 absl::FormatDuration(*loss->pause), loss->requests_replayed,
                 loss->tokens_replayed);
  }
  epoch_ = epoch;
  facts_ = facts;
  sent_.clear();
  scheduler_ = std::make_unique<Scheduler>(
      SchedulerOptions{.max_num_batched_tokens = facts.max_num_batched_tokens,
                       .max_num_seqs = facts.max_num_seqs,
                       .block_size = facts.block_size,
                       .num_blocks = facts.num_kv_blocks,
                       // One more than the stages work on, so that the first never waits for us.
                       .max_in_flight = facts.stages + 1,
                       .stages = facts.stages,
                       .prefix_cache = options_.prefix_cache,
                       .queue = {}});
  for (uint64_t key : Keys()) Admit(key, *live_.at(key));
}

void EngineCore::OnLost(uint64_t epoch, const absl::Status& why, absl::Time now) {
  if (!ready() || epoch != epoch_) return;
  RecordLoss(epoch, why, now);
  std::set<uint64_t> in_steps;
  for (const auto& flight : scheduler_->flights()) {
    for (const Scheduler::Part& part : flight.parts) {
      const Live* live = Find(part.sequence);
      if (live != nullptr && live->admission == part.admission) in_steps.insert(part.sequence);
    }
  }
  earlier_preemptions_ += scheduler_->num_preemptions();
  // OnReady gives every log to a new one.
  scheduler_.reset();
  if (std::optional<uint64_t> guilty = suspects_.Died({in_steps.begin(), in_steps.end()})) {
    absl::Status status = absl::AbortedError(absl::StrCat(
        "the request is given up: its group was lost every time that it was computed, at last ",
        "because of this: ", std::string(why.message())));
    rpc::SetErrorSite(status, rpc::GetErrorSite(why));
    End(*guilty, status);
  }
}

void EngineCore::RecordLoss(uint64_t epoch, const absl::Status& why, absl::Time now) {
  LossRecord loss{.epoch = epoch,
                  .rank = rpc::GetErrorSite(why).rank,
                  .cause = std::string(why.message()),
                  .at = now};
  for (const auto& [key, live] : live_) {
    if (!scheduler_->Resident(key)) continue;
    ++loss.requests_replayed;
    loss.tokens_replayed += live->sequence->log().size();
  }
  environment_.counters->tokens_replayed_total += loss.tokens_replayed;
  environment_.losses->Lost(std::move(loss));
}

void EngineCore::OnFailed(const absl::Status& why) {
  failed_ = absl::UnavailableError(
      absl::StrCat("the model cannot be served: ", std::string(why.message())));
  scheduler_.reset();
  CancelAll(*failed_);
}

void EngineCore::OnStep(uint64_t epoch, StepResult result) {
  if (!ready() || epoch != epoch_) return;
  if (scheduler_->flights().empty() || scheduler_->flights().front().step != result.step) return;
  ++environment_.counters->steps_total;
  environment_.counters->step_time.Add(now_ - sent_.front());
  sent_.pop_front();
  for (SequenceResult& part : result.results) Apply(result.step, part);
  std::vector<uint64_t> finished;
  for (const Scheduler::Part& part : scheduler_->flights().front().parts) {
    Live* live = Find(part.sequence);
    if (live == nullptr || live->admission != part.admission) continue;
    if (live->sequence->finished()) {
      finished.push_back(part.sequence);
    } else if (part.draws && live->drawn_step != result.step) {
      // A worker that computed all that is known has drawn a token, or ended the sequence.
      End(part.sequence,
          absl::InternalError("the workers returned no token for a finished prompt"));
    }
  }
  scheduler_->Reported();
  for (uint64_t key : finished) Finish(key);
}

void EngineCore::Apply(uint64_t step, SequenceResult& result) {
  const uint64_t key = result.sequence;
  Live* found = Find(key);
  // Ended, or preempted and started again, since the step was sent.
  if (found == nullptr || found->admission != result.admission) return;
  Live& live = *found;
  live.sequence->AddPromptLogprobs(result.prompt_position, std::move(result.prompt_tokens));
  if (result.finish == Finish::kFailed) {
    return End(key, GivenUp(result));
  }
  if (result.tokens.empty()) return;
  if (!live.accepted) Accept(live);
  live.drawn_step = step;
  DeltaEvent delta = live.sequence->Append(std::move(result.tokens));
  CountTokens(live, delta.tokens.size());
  if (suspects_.Gained(key)) UpdatePaused();
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
  SetWake(key, live);
  scheduler_->SetPaused(key, true);
}

void EngineCore::Finish(uint64_t key) {
  Live& live = *live_.at(key);
  if (!live.accepted) Accept(live);
  FinishedEvent event = *live.sequence->finished();
  environment_.counters->end_to_end.Add(now_ - live.arrival);
  event.cached_tokens = live.cached_tokens.value_or(0);
  live.stream->Push(std::move(event));
  End(key, absl::OkStatus());
}

void EngineCore::End(uint64_t key, const absl::Status& status, bool discard) {
  auto it = live_.find(key);
  if (it == live_.end()) return;
  const std::unique_ptr<Live> owned = std::move(it->second);
  Live& live = *owned;
  live_.erase(it);
  deadlines_.erase({live.wake, key});
  LeaveQueue(live);
  if (scheduler_) scheduler_->Remove(key);
  if (suspects_.Ended(key)) UpdatePaused();
  if (absl::IsCancelled(status) || absl::IsDeadlineExceeded(status)) {
    ++environment_.counters->requests_cancelled;
  } else if (!status.ok()) {
    ++environment_.counters->requests_failed;
  }
  environment_.on_end(live.sequence ? live.sequence->request() : *live.request);
  live.stream->End(status, discard);
}

std::vector<uint64_t> EngineCore::Keys() const {
  std::vector<uint64_t> keys;
  for (const auto& [key, live] : live_) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

void EngineCore::LeaveQueue(Live& live) {
  if (!live.queued) return;
  live.queued = false;
  --num_queued_;
}

void EngineCore::SetWake(uint64_t key, Live& live) {
  absl::Time wake = live.deadline;
  if (live.paused_since) wake = std::min(wake, *live.paused_since + options_.slow_reader_timeout);
  if (wake == live.wake) return;
  deadlines_.erase({live.wake, key});
  live.wake = wake;
  if (wake != absl::InfiniteFuture()) deadlines_.insert({wake, key});
}

void EngineCore::EndOverdue() {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    const uint64_t key = deadlines_.begin()->second;
    if (now_ >= live_.at(key)->deadline) {
      End(key, absl::DeadlineExceededError("the request's deadline has passed"));
      continue;
    }
    End(key,
        absl::CancelledError(absl::StrCat("the answer was not read for ",
                                          absl::FormatDuration(options_.slow_reader_timeout))),
        /*discard=*/true);
  }
}

absl::Time EngineCore::NextDeadline() const {
  return deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first;
}

void EngineCore::CountTokens(Live& live, size_t count) {
  if (count == 0) return;
  Counters& counters = *environment_.counters;
  counters.completion_tokens_total += count;
  counters.output_tokens.Add(now_, count);
  if (live.last_token) {
    counters.inter_token.Add((now_ - *live.last_token) / count, count);
  } else {
    counters.time_to_first_token.Add(now_ - live.arrival);
    if (count > 1) counters.inter_token.Add(absl::ZeroDuration(), count - 1);
  }
  live.last_token = now_;
}

void EngineCore::At(absl::Time now) {
  if (ready() && scheduler_->num_resident() > 0 && now > now_) {
    Counters& counters = *environment_.counters;
    Counters::Count& count =
        scheduler_->flights().empty() ? counters.server_ns : counters.workers_ns;
    count += static_cast<uint64_t>(absl::ToInt64Nanoseconds(now - now_));
  }
  now_ = now;
}

void EngineCore::Tick(absl::Time now) {
  At(now);
  EndOverdue();
  while (ready() && NextStep()) {
  }
  PublishFigures();
}

bool EngineCore::NextStep() {
  std::optional<Step> step = scheduler_->Next(now_);
  if (!step) return false;
  Counters& counters = *environment_.counters;
  for (SequenceStart& start : step->starts) {
    Live& live = *live_.at(start.sequence);
    if (live.queued) counters.queue_time.Add(now_ - live.arrival);
    LeaveQueue(live);
    live.admission = start.admission;
    if (!live.cached_tokens) {
      live.cached_tokens = std::min(start.cached_tokens, live.sequence->prompt_length());
      counters.cached_tokens_total += *live.cached_tokens;
    }
    live.sequence->Describe(start);
  }
  CountPrefill(*step);
  sent_.push_back(now_);
  environment_.executor->Submit(epoch_, *step);
  return true;
}

void EngineCore::CountPrefill(const Step& step) {
  const std::vector<Scheduler::Part>& parts = scheduler_->flights().back().parts;
  for (size_t i = 0; i < step.entries.size(); ++i) {
    const Live& live = *live_.at(step.entries[i].sequence);
    // One token of a sequence that has drawn, or is sent before its last draw is known.
    const bool ahead = parts[i].end > live.sequence->log().size();
    if (step.entries[i].num_tokens == 1 && (live.last_token || ahead)) continue;
    environment_.counters->prefill_tokens_total += step.entries[i].num_tokens;
  }
}

void EngineCore::PublishFigures() {
  Counters& counters = *environment_.counters;
  counters.running = ready() ? scheduler_->num_resident() : 0;
  counters.waiting = live_.size() - counters.running;
  counters.queued = num_queued_;
  if (!ready()) return;
  counters.kv_blocks_total = scheduler_->pool().num_blocks();
  counters.kv_blocks_free = scheduler_->pool().num_available();
  counters.preemptions_total = earlier_preemptions_ + scheduler_->num_preemptions();
}

}  // namespace tessera::server
