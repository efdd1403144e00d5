#include "worker/runner/step_sampler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

std::vector<TopToken> ToTop(const std::vector<RankedId>& ranked) {
  std::vector<TopToken> top;
  top.reserve(ranked.size());
  for (const RankedId& each : ranked) top.push_back({each.id, each.logprob});
  return top;
}

Token MakeToken(uint32_t id, const Logprobs& logprobs) {
  return {.id = id, .logprob = logprobs.chosen, .top = ToTop(logprobs.top), .candidates = {}};
}

}  // namespace

uint32_t DraftOf(const SequenceWork& work, uint32_t position) {
  return position + 1 - std::min(work.end, position + 1);
}

bool RowCounts(const SequenceWork& work, uint32_t draft, const DrawRecord& record) {
  if (draft == 0) return true;
  return record.ids.size() == draft && record.ids.back() == work.sequence->drafts[draft - 1] &&
         !IsStop(*work.sequence, record.ids.back());
}

DrawContext ContextOf(const Sequence& sequence) {
  return ContextOf(sequence, sequence.start.token_ids);
}

DrawContext ContextOf(const Sequence& sequence, absl::Span<const uint32_t> ids) {
  DrawContext context;
  context.ids = ids;
  context.prompt_length = sequence.start.prompt_length;
  context.sequence_index = sequence.start.index;
  if (ids.size() - sequence.start.prompt_length < sequence.start.min_tokens) {
    context.masked_ids = sequence.start.stop_token_ids;
  }
  context.restrictions = &sequence.start.restrictions;
  context.params = sequence.start.sampling;
  return context;
}

StepSampler::StepSampler(Sampler sampler, std::unique_ptr<Drafter> drafter, uint32_t most_drafts)
    : sampler_(std::move(sampler)), drafter_(std::move(drafter)), most_drafts_(most_drafts) {}

void StepSampler::Follow(const StepInput& step) {
  if (drafter_ == nullptr) return;
  for (uint64_t sequence : step.ends) lengths_.erase(sequence);
  drafter_->Follow(step);
}

void StepSampler::Row(const SequenceWork& work, uint32_t position, const float* logits,
                      SequenceResult* result, DrawRecord* record) {
  if (record->outcome == DrawRecord::kFailed) return;
  const bool of_prompt = position < work.prompt_rows_end();
  const bool draws =
      work.draws && position + 1 >= work.end && RowCounts(work, DraftOf(work, position), *record);
  if (!of_prompt && !draws) return;
  const absl::StatusOr<double> log_sum = sampler_.LogSumExp(logits);
  absl::Status failure = log_sum.status();
  if (failure.ok() && of_prompt) PromptRow(work, position, logits, *log_sum, result);
  if (failure.ok() && draws) failure = DrawRow(work, logits, *log_sum, result, record);
  // What was drawn before goes out; the next step meets the failure again.
  if (failure.ok() || !record->ids.empty()) return;
  record->outcome = DrawRecord::kFailed;
  result->error = std::string(failure.message());
  result->nothing_to_draw = absl::IsFailedPrecondition(failure);
}

void StepSampler::PromptRow(const SequenceWork& work, uint32_t position, const float* logits,
                            double log_sum_exp, SequenceResult* result) {
  const SequenceStart& start = work.sequence->start;
  const uint32_t id = start.token_ids[position + 1];
  if (result->prompt_tokens.empty()) result->prompt_position = position + 1;
  result->prompt_tokens.push_back(
      MakeToken(id, sampler_.LogprobsOf(logits, log_sum_exp, id, *start.prompt_logprobs)));
}

absl::Status StepSampler::DrawRow(const SequenceWork& work, const float* logits, double log_sum_exp,
                                  SequenceResult* result, DrawRecord* record) {
  SequenceStart& start = work.sequence->start;
  const DrawContext context = ContextOf(*work.sequence);
  uint32_t id = 0;
  std::vector<RankedId> candidates;
  if (start.candidates == 0) {
    ASSIGN_OR_RETURN(id, sampler_.Draw(logits, context));
  } else {
    ASSIGN_OR_RETURN(candidates,
                     sampler_.Candidates(logits, log_sum_exp, context, start.candidates));
    id = candidates[0].id;
  }
  record->outcome = DrawRecord::kDrawn;
  record->ids.push_back(id);
  result->tokens.push_back(
      MakeToken(id, sampler_.LogprobsOf(logits, log_sum_exp, id, start.logprobs.value_or(0))));
  result->tokens.back().candidates = ToTop(candidates);
  start.token_ids.push_back(id);
  return absl::OkStatus();
}

uint32_t StepSampler::DraftCount(const SequenceTable& table, const SequenceWork& work,
                                 const DrawRecord& record) {
  auto [it, is_new] = lengths_.try_emplace(work.sequence->start.sequence, most_drafts_);
  if (work.num_drafts > 0) {
    it->second.Report(work.num_drafts, static_cast<uint32_t>(record.ids.size()) - 1);
  }
  if (IsStop(*work.sequence, record.ids.back())) return 0;
  const uint32_t room = table.RoomToDraw(*work.sequence);
  return room < 2 ? 0 : std::min(it->second.Next(), room - 1);
}

absl::Status StepSampler::Finish(const SequenceTable& table, const std::vector<SequenceWork>& work,
                                 std::vector<DrawRecord>* records) {
  std::vector<DraftRequest> requests;
  std::vector<size_t> of_request;
  for (size_t w = 0; drafter_ != nullptr && w < work.size(); ++w) {
    if ((*records)[w].outcome != DrawRecord::kDrawn) continue;
    const uint32_t count = DraftCount(table, work[w], (*records)[w]);
    if (count == 0) continue;
    requests.push_back({.sequence = work[w].sequence, .count = count, .ids = {}});
    of_request.push_back(w);
  }
  absl::Status status;
  if (!requests.empty()) status = drafter_->Propose(absl::MakeSpan(requests));
  for (size_t r = 0; r < requests.size(); ++r) {
    (*records)[of_request[r]].drafts = std::move(requests[r].ids);
  }
  for (size_t w = 0; w < work.size(); ++w) {
    std::vector<uint32_t>& ids = work[w].sequence->start.token_ids;
    ids.resize(ids.size() - (*records)[w].ids.size());
  }
  return status;
}

}  // namespace tessera::worker
