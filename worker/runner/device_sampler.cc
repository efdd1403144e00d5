#include "worker/runner/device_sampler.h"

#include <string>

#include "shard_loader/status_macros.h"
#include "worker/sampling/sampler.h"

namespace tessera::worker {
namespace {

bool IsOfPrompt(const SequenceWork& work, uint32_t position) {
  return position < work.prompt_rows_end();
}

int64_t TopOf(const SequenceWork& work, uint32_t position) {
  const SequenceStart& start = work.sequence->start;
  return IsOfPrompt(work, position) ? *start.prompt_logprobs : MostRanked(start);
}

// A device ranks raw logits alone.
bool DrawsOnHost(const SequenceStart& start) {
  return start.sampling.typical_p < 1.0f || MostRanked(start) > kMaxDrawerTop ||
         (start.candidates > 0 && !start.restrictions.empty());
}

bool IsForHost(const SequenceWork& work, uint32_t position) {
  if (IsOfPrompt(work, position)) return TopOf(work, position) > kMaxDrawerTop;
  return DrawsOnHost(work.sequence->start);
}

Token ToToken(const DrawnRow& drawn) {
  Token token;
  token.id = drawn.id;
  token.logprob = drawn.logprob;
  for (const DrawnRow::Ranked& each : drawn.top) token.top.push_back({each.id, each.logprob});
  return token;
}

void Fail(const absl::Status& failure, SequenceResult* result, DrawRecord* record) {
  record->outcome = DrawRecord::kFailed;
  result->error = std::string(failure.message());
  result->nothing_to_draw = absl::IsFailedPrecondition(failure);
}

void Take(const SequenceWork& work, uint32_t position, const DrawnRow& drawn,
          SequenceResult* result, DrawRecord* record) {
  if (record->outcome == DrawRecord::kFailed) return;
  if (!RowCounts(work, DraftOf(work, position), *record)) return;
  // What was drawn before a failure goes out; the next step meets the failure again.
  if (drawn.outcome != DrawnRow::Outcome::kDrawn && !record->ids.empty()) return;
  switch (drawn.outcome) {
    case DrawnRow::Outcome::kNotFinite:
      return Fail(NotFiniteError(), result, record);
    case DrawnRow::Outcome::kNothingToDraw:
      return Fail(NothingToDrawError(), result, record);
    case DrawnRow::Outcome::kDrawn:
      break;
  }
  if (IsOfPrompt(work, position)) {
    if (result->prompt_tokens.empty()) result->prompt_position = position + 1;
    result->prompt_tokens.push_back(ToToken(drawn));
    return;
  }
  record->outcome = DrawRecord::kDrawn;
  record->ids.push_back(drawn.id);
  result->tokens.push_back(ToToken(drawn));
  ShareRanked(work.sequence->start, &result->tokens.back());
}

// Whether a row may still count, by what is known of the rows before it.
bool MayCount(const SequenceWork& work, uint32_t draft, const DrawRecord& record) {
  if (draft == 0) return true;
  if (record.outcome == DrawRecord::kFailed) return false;
  const std::vector<uint32_t>& drafts = work.sequence->drafts;
  for (size_t i = 0; i < draft; ++i) {
    if (i < record.ids.size() && record.ids[i] != drafts[i]) return false;
    if (IsStop(*work.sequence, drafts[i])) return false;
  }
  return true;
}

}  // namespace

void AskDraw(const DrawContext& context, int64_t vocab_size, std::vector<uint32_t>* forbidden,
             DrawRow* draw) {
  draw->temperature = context.params.temperature;
  draw->top_k = context.params.top_k;
  draw->top_p = context.params.top_p;
  draw->min_p = context.params.min_p;
  draw->repetition_penalty = context.params.repetition_penalty;
  draw->presence_penalty = context.params.presence_penalty;
  draw->frequency_penalty = context.params.frequency_penalty;
  draw->seed = context.params.seed;
  draw->sequence_index = context.sequence_index;
  draw->ids = context.ids;
  draw->prompt_length = context.prompt_length;
  draw->allowed = context.restrictions->allowed_ids;
  draw->biases = context.restrictions->logit_bias;
  *forbidden = ForbiddenIds(*context.restrictions, context.ids.subspan(context.prompt_length));
  for (uint32_t id : context.masked_ids) {
    if (id < vocab_size) forbidden->push_back(id);
  }
  draw->forbidden = *forbidden;
}

DrawRow DeviceSampler::Ask(const SequenceWork& work, const LogitRow& row, Asked* asked) const {
  DrawRow draw;
  draw.row = static_cast<int64_t>(asked->row);
  draw.top = static_cast<int32_t>(TopOf(work, row.position));
  draw.draws = !IsOfPrompt(work, row.position);
  if (!draw.draws) {
    draw.id = work.sequence->start.token_ids[row.position + 1];
    return draw;
  }
  const Sequence& sequence = *work.sequence;
  const uint32_t draft = DraftOf(work, row.position);
  DrawContext context = ContextOf(sequence);
  if (draft > 0) {
    const std::vector<uint32_t>& known = sequence.start.token_ids;
    asked->ids.assign(known.begin(), known.begin() + work.end);
    asked->ids.insert(asked->ids.end(), sequence.drafts.begin(), sequence.drafts.begin() + draft);
    context = ContextOf(sequence, asked->ids);
  }
  AskDraw(context, vocab_size_, &asked->forbidden, &draw);
  return draw;
}

absl::Status DeviceSampler::StartAsked(const float* logits, absl::Span<const LogitRow> rows,
                                       const std::vector<SequenceWork>& work,
                                       const std::vector<DrawRecord>* records,
                                       std::deque<Asked>* asked) {
  std::vector<DrawRow> draws;
  for (size_t i = 0; i < rows.size(); ++i) {
    const SequenceWork& of = work[rows[i].work];
    if (IsForHost(of, rows[i].position)) continue;
    const uint32_t draft = DraftOf(of, rows[i].position);
    if (records != nullptr && !MayCount(of, draft, (*records)[rows[i].work])) continue;
    asked->push_back({i, {}, {}});
    draws.push_back(Ask(of, rows[i], &asked->back()));
  }
  if (draws.empty()) return absl::OkStatus();
  return drawer_->Start({logits, static_cast<int64_t>(rows.size()), vocab_size_, vocab_block_},
                        draws);
}

absl::Status DeviceSampler::Rows(const float* logits, absl::Span<const LogitRow> rows,
                                 const std::vector<SequenceWork>& work,
                                 std::vector<SequenceResult>* results,
                                 std::vector<DrawRecord>* records) {
  std::deque<Asked> asked;  // whose elements stay where they are
  RETURN_IF_ERROR(StartAsked(logits, rows, work, records, &asked));
  std::vector<DrawnRow> drawn;
  if (!asked.empty()) {
    ASSIGN_OR_RETURN(drawn, drawer_->Collect());
  }
  size_t next = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const SequenceWork& of = work[rows[i].work];
    SequenceResult* result = &(*results)[rows[i].work];
    DrawRecord* record = &(*records)[rows[i].work];
    if (next < asked.size() && asked[next].row == i) {
      const size_t before = record->ids.size();
      Take(of, rows[i].position, drawn[next++], result, record);
      // As StepSampler::Row does, whose Finish takes them away again.
      if (record->ids.size() > before) of.sequence->start.token_ids.push_back(record->ids.back());
      continue;
    }
    // On the host one row comes after the other, and not at all where it does not count.
    if (!IsForHost(of, rows[i].position) ||
        !RowCounts(of, DraftOf(of, rows[i].position), *record)) {
      continue;
    }
    ASSIGN_OR_RETURN(const float* const here,
                     side_->Bring(logits + static_cast<int64_t>(i) * vocab_size_, vocab_size_));
    host_->Row(of, rows[i].position, here, result, record);
  }
  return absl::OkStatus();
}

bool DeviceSampler::CanDraw(const SequenceStart& start) {
  return !DrawsOnHost(start) && start.prompt_logprobs.value_or(0) <= kMaxDrawerTop;
}

absl::Status DeviceSampler::Start(const float* logits, absl::Span<const LogitRow> rows,
                                  const std::vector<SequenceWork>& work) {
  std::deque<Asked> asked;
  return StartAsked(logits, rows, work, nullptr, &asked);
}

absl::Status DeviceSampler::Finish(absl::Span<const LogitRow> rows,
                                   const std::vector<SequenceWork>& work,
                                   std::vector<SequenceResult>* results,
                                   std::vector<DrawRecord>* records) {
  ASSIGN_OR_RETURN(const std::vector<DrawnRow> drawn, drawer_->Collect());
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t w = rows[i].work;
    Take(work[w], rows[i].position, drawn[i], &(*results)[w], &(*records)[w]);
  }
  return absl::OkStatus();
}

}  // namespace tessera::worker
