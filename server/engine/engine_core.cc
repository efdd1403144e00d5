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
  live.queue = {request.tenant, request.priority};
  live.queued_tokens = request.prompt.size() + request.continue_from.size();
  live.request = std::move(request);
  const absl::Status in_time = CheckWait(live);
  EnterQueue(live);
  ++environment_.counters->requests_total;
  if (closed_) return End(key, *closed_);
  if (!in_time.ok()) return End(key, in_time);
  if (ready()) return Admit(key, live);
  OfferOne(key, /*urgent=*/false);
}

absl::Status EngineCore::CheckFits(const Request& request, uint64_t longest) const {
  uint64_t wanted = request.prompt.size() +
                    std::max<uint64_t>(request.max_tokens.value_or(1),
                                       std::max<uint64_t>(request.continue_from.size(), 1));
  if (wanted > longest) {
    return FieldError(request.max_tokens ? "stop.max_tokens" : "prompt",
                      absl::StrCat("the prompt and the answer need ", wanted,
                                   " tokens, but this server holds at most ", longest,
                                   " of one request; send less or ask for less"));
  }
  if (!request.beam_width) return absl::OkStatus();
  // Beams go on together, so all must find room beside each other.
  const uint64_t length =
      request.prompt.size() + request.max_tokens.value_or(longest - request.prompt.size());
  const uint64_t blocks = (length + facts_.block_size - 1) / facts_.block_size;
  const uint64_t most = std::min<uint64_t>(facts_.max_num_seqs, facts_.num_kv_blocks / blocks);
  if (*request.beam_width <= most) return absl::OkStatus();
  return FieldError("sampling.beam_width",
                    absl::StrCat("sampling.beam_width is ", *request.beam_width, ", but of ",
                                 length, " tokens each this server holds at most ", most,
                                 " at a time; ask for fewer beams or a smaller stop.max_tokens"));
}

void EngineCore::Admit(uint64_t key, Live& live) {
  if (!live.group) {
    uint64_t cache = uint64_t{facts_.num_kv_blocks} * facts_.block_size;
    uint64_t longest = std::min<uint64_t>(facts_.max_model_len, cache);
    absl::Status fits = CheckFits(*live.request, longest);
    if (!fits.ok()) return End(key, fits);
    environment_.counters->prompt_tokens_total += live.request->prompt.size();
    live.group = std::make_unique<SequenceGroup>(*std::exchange(live.request, std::nullopt),
                                                 longest, *environment_.tokenizer);
    if (!live.group->request().prompt_logprobs) Accept(live);
    if (live.group->members()[0]->sequence && live.group->members()[0]->sequence->finished()) {
      return Settle(key);
    }
  }
  for (SequenceGroup::Member* member : live.group->Unplaced()) {
    if (!Place(key, live, *member)) return;
  }
}

bool EngineCore::Place(uint64_t key, Live& live, SequenceGroup::Member& member) {
  member.id = next_sequence_++;
  const SequenceInfo info = InfoOf(key, live, member);
  if (!scheduler_->Add(member.id, info)) {
    End(key, absl::InvalidArgumentError(
                 absl::StrCat("the request may need ", info.max_length,
                              " tokens of KV cache, which the group no longer has")));
    return false;
  }
  places_[member.id] = {key, &member};
  scheduler_->SetPaused(member.id, IsPaused(key, live, member));
  return true;
}

SequenceInfo EngineCore::InfoOf(uint64_t key, const Live& live,
                                const SequenceGroup::Member& member) const {
  SequenceInfo info;
  info.log = &member.log();
  info.max_length = live.group->max_length();
  info.tenant = live.group->request().tenant;
  info.priority = live.group->request().priority;
  info.arrival = live.arrival;
  info.order = key;  // keys ascend, over all replicas
  // Of what is found in the cache there are no logits. What is told of a prompt is computed for it;
  // a replay of that may be found.
  const Request& request = live.group->request();
  info.reads_cache =
      !(request.prompt_logprobs && !live.accepted) && !(request.echo && !live.cached_tokens);
  info.cache_scope = absl::StrCat(facts_.numerics_id, "/", facts_.weights_version);
  if (options_.isolate_tenants) absl::StrAppend(&info.cache_scope, "/", info.tenant);
  info.one_at_a_time = live.group->is_beams();
  // Every beam is looked at between its tokens.
  info.max_ids = live.group->is_beams() ? 1 : 1 + facts_.num_speculative_tokens;
  return info;
}

EngineCore::Live* EngineCore::Find(uint64_t key) {
  auto it = live_.find(key);
  return it == live_.end() ? nullptr : it->second.get();
}

void EngineCore::Accept(Live& live) {
  live.accepted = true;
  live.stream->Push(AcceptedEvent{.seed = live.group->request().sampling.seed,
                                  .numerics_id = facts_.numerics_id,
                                  .weights_version = facts_.weights_version,
                                  .prompt_logprobs = live.group->TakePromptLogprobs()});
}

bool EngineCore::Cancel(uint64_t key, const absl::Status& status) {
  const bool here = Find(key) != nullptr;
  End(key, status);
  return here;
}

void EngineCore::CancelAll(const absl::Status& status) {
  for (uint64_t key : Keys()) End(key, status);
}

void EngineCore::CutOff(const absl::Status& status) {
  closed_ = status;
  CancelAll(status);
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
  for (const auto& [key, live] : live_) UpdatePaused(key, *live);
}

void EngineCore::OnReady(uint64_t epoch, const GroupFacts& facts, absl::Time now) {
  if (std::optional<LossRecord> loss = environment_.losses->Back(now)) {
    spdlog::info(
        "{} is back after {}: {} requests go on, {} moved to other replicas; {} tokens are "
        "computed again",
        environment_.group, absl::FormatDuration(*loss->pause), loss->requests_replayed,
        loss->requests_moved, loss->tokens_replayed);
  }
  epoch_ = epoch;
  facts_ = facts;
  urgent_ = absl::InfiniteFuture();
  sent_.clear();
  last_reported_ = absl::InfinitePast();
  pace_ = PromptPace();
  scheduler_ = std::make_unique<Scheduler>(SchedulerOptions{
      .max_num_batched_tokens = facts.max_num_batched_tokens,
      .max_num_seqs = facts.max_num_seqs,
      .block_size = facts.block_size,
      .num_blocks = facts.num_kv_blocks,
      // One more than the stages work on, so that the first never waits for us.
      .max_in_flight = facts.stages + 1,
      .stages = facts.stages,
      .prefix_cache = options_.prefix_cache,
      .num_kv_slots = options_.prefix_cache ? facts.num_kv_slots : 0,
      .queue = {.aging = options_.priority_aging, .weights = options_.tenant_weights}});
  for (uint64_t key : Keys()) Admit(key, *live_.at(key));
}

void EngineCore::OnLost(uint64_t epoch, const absl::Status& why, absl::Time now) {
  if (!ready() || epoch != epoch_) return;
  RecordLoss(epoch, why, now);
  std::set<uint64_t> in_steps;
  for (const auto& flight : scheduler_->flights()) {
    for (const Scheduler::Part& part : flight.parts) {
      auto it = places_.find(part.sequence);
      if (it == places_.end() || it->second.member->admission != part.admission) continue;
      in_steps.insert(it->second.key);
    }
  }
  earlier_preemptions_ += scheduler_->num_preemptions();
  earlier_spilled_ += scheduler_->prefix_cache().spilled_total();
  earlier_fetched_ += scheduler_->prefix_cache().fetched_total();
  earlier_fetched_tokens_ += scheduler_->num_fetched_tokens();
  queue_rate_.Interrupt();
  // OnReady gives every log to a new one.
  scheduler_.reset();
  places_.clear();
  for (const auto& [key, live] : live_) {
    if (live->group) live->group->LoseWorkers();
  }
  if (std::optional<uint64_t> guilty = suspects_.Died({in_steps.begin(), in_steps.end()})) {
    absl::Status status = absl::AbortedError(absl::StrCat(
        "the request is given up: its group was lost every time that it was computed, at last ",
        "because of this: ", std::string(why.message())));
    rpc::SetErrorSite(status, rpc::GetErrorSite(why));
    End(*guilty, status);
  }
  if (environment_.move) urgent_ = now + options_.move_patience;
  OfferElsewhere();
}

void EngineCore::RecordLoss(uint64_t epoch, const absl::Status& why, absl::Time now) {
  LossRecord loss{.epoch = epoch,
                  .was_ready = true,
                  .rank = rpc::GetErrorSite(why).rank,
                  .cause = std::string(why.message()),
                  .at = now};
  for (const auto& [key, live] : live_) {
    bool replayed = false;
    for (size_t i = 0; live->group && i < live->group->members().size(); ++i) {
      const SequenceGroup::Member& member = *live->group->members()[i];
      if (!scheduler_->Resident(member.id)) continue;
      replayed = true;
      loss.tokens_replayed += member.log().size();
    }
    loss.requests_replayed += replayed;
  }
  environment_.counters->tokens_replayed_total += loss.tokens_replayed;
  environment_.losses->Lost(std::move(loss));
}

void EngineCore::OnSetback(uint64_t epoch, const absl::Status& why, absl::Time now) {
  environment_.losses->Lost({.epoch = epoch,
                             .rank = rpc::GetErrorSite(why).rank,
                             .cause = std::string(why.message()),
                             .at = now});
}

void EngineCore::OnFailed(const absl::Status& why) {
  scheduler_.reset();
  urgent_ = absl::InfiniteFuture();
  CutOff(absl::UnavailableError(
      absl::StrCat("the model cannot be served: ", std::string(why.message()))));
}

void EngineCore::OnStep(uint64_t epoch, StepResult result) {
  if (!ready() || epoch != epoch_) return;
  if (scheduler_->flights().empty() || scheduler_->flights().front().step != result.step) return;
  ++environment_.counters->steps_total;
  environment_.counters->step_time.Add(now_ - sent_.front().at);
  LearnPace();
  for (SequenceResult& part : result.results) Apply(result.step, part);
  std::vector<uint64_t> keys;  // of the requests that had a part in it
  for (const Scheduler::Part& part : scheduler_->flights().front().parts) {
    auto it = places_.find(part.sequence);
    if (it == places_.end() || it->second.member->admission != part.admission) continue;
    const auto [key, member] = it->second;
    if (part.draws && member->drawn_step != result.step) {
      // A worker that computed all that is known has drawn a token, or ended the sequence.
      End(key, absl::InternalError("the workers returned no token for a finished prompt"));
    } else if (part.draws && (keys.empty() || keys.back() != key)) {
      keys.push_back(key);
    }
  }
  scheduler_->Reported();
  for (uint64_t key : keys) Settle(key);
}

void EngineCore::Apply(uint64_t step, SequenceResult& result) {
  auto it = places_.find(result.sequence);
  // Ended, or preempted and started again, since the step was sent.
  if (it == places_.end() || it->second.member->admission != result.admission) return;
  const auto [key, member] = it->second;
  Live& live = *live_.at(key);
  if (!result.prompt_tokens.empty()) {
    live.group->AddPromptLogprobs(result.prompt_position, std::move(result.prompt_tokens));
  }
  const bool dead_end = live.group->IsDeadEnd(result);
  if (result.finish == Finish::kFailed && !dead_end) return End(key, GivenUp(result));
  if (result.tokens.empty() && !dead_end) return;
  if (!live.accepted) Accept(live);
  member->drawn_step = step;
  if (suspects_.Gained(key)) UpdatePaused();
  std::vector<ResponseEvent> events;
  absl::Status taken = live.group->Take(*member, result, events);
  Tell(live, std::move(events));
  if (!taken.ok()) return End(key, taken);
  if (live.stream->full()) Pause(key, live);
}

void EngineCore::Tell(Live& live, std::vector<ResponseEvent> events) {
  for (ResponseEvent& event : events) {
    if (auto* delta = std::get_if<DeltaEvent>(&event)) {
      CountTokens(live, delta->index, delta->tokens.size());
    } else if (auto* finished = std::get_if<FinishedEvent>(&event)) {
      finished->cached_tokens = live.cached_tokens.value_or(0);
    }
    live.stream->Push(std::move(event));
  }
}

void EngineCore::Settle(uint64_t key) {
  Live* live = Find(key);
  if (live == nullptr) return;
  if (!live->accepted) Accept(*live);
  SequenceGroup::Changes changes = live->group->Settle();
  for (const SequenceGroup::Fork& fork : changes.forks) {
    fork.child->id = next_sequence_++;
    const SequenceInfo info = InfoOf(key, *live, *fork.child);
    if (!scheduler_->Fork(fork.parent->id, fork.child->id, info)) {
      // Not before those that end are forgotten: nobody else knows of them any more.
      changes.failure = absl::InternalError("a fork may need more than its parent");
      break;
    }
    places_[fork.child->id] = {key, fork.child};
    scheduler_->SetPaused(fork.child->id, IsPaused(key, *live, *fork.child));
  }
  for (const auto& member : changes.ends) Forget(*member);
  if (!changes.failure.ok()) return End(key, changes.failure);
  for (const SequenceGroup::Member* member : changes.paused) {
    scheduler_->SetPaused(member->id, IsPaused(key, *live, *member));
  }
  Tell(*live, std::move(changes.events));
  if (!changes.done) return;
  environment_.counters->end_to_end.Add(now_ - live->arrival);
  End(key, absl::OkStatus());
}

void EngineCore::Forget(const SequenceGroup::Member& member) {
  if (member.id == 0) return;
  places_.erase(member.id);
  if (scheduler_) scheduler_->Remove(member.id);
}

void EngineCore::Pause(uint64_t key, Live& live) {
  if (live.paused_since) return;
  live.paused_since = now_;
  SetWake(key, live);
  UpdatePaused(key, live);
}

void EngineCore::UpdatePaused(uint64_t key, const Live& live) {
  if (!live.group) return;
  for (const auto& member : live.group->members()) {
    if (member->id != 0) scheduler_->SetPaused(member->id, IsPaused(key, live, *member));
  }
}

bool EngineCore::IsPaused(uint64_t key, const Live& live,
                          const SequenceGroup::Member& member) const {
  return live.paused_since || member.paused || suspects_.Held(key);
}

void EngineCore::End(uint64_t key, const absl::Status& status, bool discard) {
  auto it = live_.find(key);
  if (it == live_.end()) return;
  const std::unique_ptr<Live> owned = std::move(it->second);
  Live& live = *owned;
  live_.erase(it);
  deadlines_.erase({live.wake, key});
  LeaveQueue(live);
  if (live.group) {
    for (const auto& member : live.group->members()) Forget(*member);
  }
  if (suspects_.Ended(key)) UpdatePaused();
  if (absl::IsCancelled(status) || absl::IsDeadlineExceeded(status)) {
    ++environment_.counters->requests_cancelled;
  } else if (!status.ok()) {
    ++environment_.counters->requests_failed;
  }
  environment_.on_end(live.group ? live.group->request() : *live.request);
  PublishFigures();  // whoever has its answer finds its blocks free
  live.stream->End(status, discard);
}

std::vector<uint64_t> EngineCore::Keys() const {
  std::vector<uint64_t> keys;
  for (const auto& [key, live] : live_) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

void EngineCore::EnterQueue(Live& live) {
  ++queue_.requests;
  queue_.tokens += live.queued_tokens;
  queued_tokens_[live.queue] += live.queued_tokens;
}

void EngineCore::LeaveQueue(Live& live) {
  if (!live.queued) return;
  live.queued = false;
  --queue_.requests;
  queue_.tokens -= live.queued_tokens;
  auto tokens = queued_tokens_.find(live.queue);
  tokens->second -= live.queued_tokens;
  if (tokens->second == 0) queued_tokens_.erase(tokens);
}

absl::Status EngineCore::CheckWait(const Live& live) const {
  if (live.deadline == absl::InfiniteFuture()) return absl::OkStatus();
  // These come before it whatever the shares and priorities of others are.
  uint64_t before = 0;
  for (auto tokens = queued_tokens_.lower_bound(live.queue);
       tokens != queued_tokens_.end() && tokens->first.first == live.queue.first; ++tokens) {
    before += tokens->second;
  }
  const absl::Duration wait = queue_rate_.Wait(before);
  if (live.arrival + wait <= live.deadline) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("the request cannot start before its deadline: ", before,
                   " tokens of prompts wait before it, which will take about ",
                   absl::FormatDuration(absl::Ceil(wait, absl::Seconds(1)))));
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
  return std::min(urgent_, deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first);
}

void EngineCore::CountTokens(Live& live, uint32_t index, size_t count) {
  if (count == 0) return;
  Counters& counters = *environment_.counters;
  counters.completion_tokens_total += count;
  counters.output_tokens.Add(now_, count);
  if (live.last_token.size() <= index) live.last_token.resize(index + 1);
  std::optional<absl::Time>& last_token = live.last_token[index];
  if (last_token) {
    counters.inter_token.Add((now_ - *last_token) / count, count);
  } else {
    counters.time_to_first_token.Add(now_ - live.arrival);
    if (count > 1) counters.inter_token.Add(absl::ZeroDuration(), count - 1);
  }
  last_token = now_;
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
  if (now >= urgent_) {
    urgent_ = now + options_.move_patience;
    Offer(/*urgent=*/true);
  }
  while (ready() && NextStep()) {
  }
  PublishFigures();
}

bool EngineCore::NextStep() {
  std::optional<Step> step = scheduler_->Next(now_);
  if (!step) return false;
  Counters& counters = *environment_.counters;
  for (SequenceStart& start : step->starts) {
    const auto [key, member] = places_.at(start.sequence);
    Live& live = *live_.at(key);
    if (live.queued) {
      counters.queue_time.Add(now_ - live.arrival);
      LeaveQueue(live);
      queue_rate_.Left(live.queued_tokens, queue_.tokens, now_);
    }
    member->admission = start.admission;
    // Of what one of its sequences has computed another finds nothing new.
    if (!live.cached_tokens) {
      const size_t prompt = live.group->request().prompt.size();
      live.cached_tokens = std::min(start.cached_tokens, static_cast<uint32_t>(prompt));
      counters.cached_tokens_total += *live.cached_tokens;
    }
    live.group->Describe(*member, start);
  }
  uint32_t tokens = 0;
  for (const SequenceStep& entry : step->entries) tokens += entry.num_tokens;
  sent_.push_back({now_, tokens, CountPrefill(*step)});
  environment_.executor->Submit(epoch_, *step);
  return true;
}

uint32_t EngineCore::CountPrefill(const Step& step) {
  uint32_t computed = 0;
  const std::vector<Scheduler::Part>& parts = scheduler_->flights().back().parts;
  for (size_t i = 0; i < step.entries.size(); ++i) {
    const auto [key, member] = places_.at(step.entries[i].sequence);
    const size_t length = member->log().size();
    // One token of a sequence that has drawn, or is sent before its last draw is known.
    const bool drawn = length > live_.at(key)->group->request().prompt.size();
    const bool ahead = parts[i].end > length;
    if (step.entries[i].num_tokens == 1 && (drawn || ahead)) continue;
    computed += step.entries[i].num_tokens;
  }
  environment_.counters->prefill_tokens_total += computed;
  return computed;
}

void EngineCore::LearnPace() {
  const Sent sent = sent_.front();
  sent_.pop_front();
  // It began when the one before it was done.
  const absl::Duration took = now_ - std::max(sent.at, std::exchange(last_reported_, now_));
  if (facts_.num_kv_slots == 0) return;
  pace_.Add(sent.tokens, sent.prompt_tokens, absl::ToDoubleSeconds(took));
  scheduler_->SetOffloadCosts({facts_.kv_fetch_seconds, pace_.token_seconds()});
}

void EngineCore::PublishFigures() {
  Counters& counters = *environment_.counters;
  counters.running = ready() ? scheduler_->num_resident() : 0;
  counters.waiting = ready() ? scheduler_->num_waiting() : live_.size();
  counters.queued = queue_.requests;
  if (!ready()) return;
  counters.kv_blocks_total = scheduler_->pool().num_blocks();
  counters.kv_blocks_free = scheduler_->pool().num_available();
  const PrefixCache& cache = scheduler_->prefix_cache();
  counters.kv_slots_total = cache.num_slots();
  counters.kv_slots_used = cache.num_spilled();
  counters.blocks_spilled_total = earlier_spilled_ + cache.spilled_total();
  counters.blocks_fetched_total = earlier_fetched_ + cache.fetched_total();
  counters.fetched_tokens_total = earlier_fetched_tokens_ + scheduler_->num_fetched_tokens();
  counters.preemptions_total = earlier_preemptions_ + scheduler_->num_preemptions();
}

}  // namespace tessera::server
