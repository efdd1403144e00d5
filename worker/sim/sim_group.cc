#include "worker/sim/sim_group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"
#include "worker/runner/ids_hash.h"
#include "worker/sim/pseudo_tokens.h"

namespace tessera::worker {

SimGroup::SimGroup(SimGroupOptions options)
    : options_(std::move(options)),
      sequences_(options_.limits),
      pipeline_(options_.stages.size()),
      taken_(static_cast<size_t>(options_.num_ranks), 0) {}

absl::StatusOr<std::shared_ptr<const SimStep>> SimGroup::Next(
    int rank, uint64_t step, absl::Duration now, const std::function<StepInput()>& decode) {
  MutexLock lock(mutex_);
  const uint64_t number = taken_[static_cast<size_t>(rank)]++;
  if (number == first_ + pending_.size()) {
    auto decided = std::make_shared<SimStep>();
    absl::Status status = Decide(decode(), now, *decided);
    pending_.push_back({step, std::move(status), std::move(decided), 0});
  }
  Pending& pending = pending_[number - first_];
  if (pending.step != step) {
    return absl::InternalError(absl::StrCat("rank ", rank, " is told to run step ", step,
                                            " where other ranks ran step ", pending.step));
  }
  absl::Status status = pending.status;
  std::shared_ptr<const SimStep> decided = pending.decided;
  // The last one to take a step is also the last for those before it.
  if (++pending.taken == options_.num_ranks) {
    pending_.pop_front();
    ++first_;
  }
  if (!status.ok()) return status;
  return decided;
}

absl::Status SimGroup::Decide(const StepInput& input, absl::Duration now, SimStep& decided) {
  ASSIGN_OR_RETURN(std::vector<SequenceWork> work, sequences_.Begin(input));
  for (uint64_t sequence : input.ends) known_.erase(sequence);
  for (const SequenceStart& start : input.starts) {
    Known& known = known_[start.sequence] = Known{};
    for (uint32_t id : start.token_ids) known.log_hash = ExtendLogHash(known.log_hash, id);
  }
  decided.output.step = input.step;
  absl::Duration earliest = now;
  for (const SequenceWork& each : work) {
    CheckPoison(each);
    decided.load.tokens += each.end - each.begin;
    decided.load.kv_tokens += each.end;
    earliest = std::max(earliest, known_[each.sequence->start.sequence].ids_at);
  }
  std::vector<absl::Duration> costs(options_.stages.size());
  for (size_t stage = 0; !work.empty() && stage < costs.size(); ++stage) {
    costs[stage] = StageTime(options_.latency, options_.stages[stage], decided.load);
  }
  decided.stages = pipeline_.Add(earliest, costs);
  IdsHash hash;
  for (const SequenceWork& each : work) {
    Known& known = known_[each.sequence->start.sequence];
    DrawRecord record;
    SequenceResult result = Draw(each, known, record);
    sequences_.Advance(each, record);
    result.finish = each.sequence->finish;
    if (record.outcome == DrawRecord::kDrawn) {
      known.ids_at = decided.stages.back().end;
      hash.Add(result.sequence, record.ids.front());
    }
    decided.output.results.push_back(std::move(result));
  }
  decided.output.ids_hash = hash.value();
  return absl::OkStatus();
}

SequenceResult SimGroup::Draw(const SequenceWork& work, Known& known, DrawRecord& record) const {
  const SequenceStart& start = work.sequence->start;
  const uint32_t vocab_size = options_.limits.vocab_size;
  SequenceResult result;
  result.sequence = start.sequence;
  result.admission = start.admission;
  if (work.prompt_rows_end() > work.begin) result.prompt_position = work.begin + 1;
  for (uint32_t position = work.begin; position < work.prompt_rows_end(); ++position) {
    const uint32_t id = start.token_ids[position + 1];
    result.prompt_tokens.push_back(
        MakePseudoToken(id, position, *start.prompt_logprobs, vocab_size));
  }
  if (!work.draws) return result;
  if (!start.restrictions.empty()) {
    record.outcome = DrawRecord::kFailed;
    result.error = "--device sim knows no logit_bias, allowed_token_ids and bad_words";
    return result;
  }
  PseudoDraw draw{.log_hash = known.log_hash,
                  .seed = start.sampling.temperature == 0 ? 0 : start.sampling.seed,
                  .index = start.index,
                  .vocab_size = vocab_size,
                  .masked_ids = {}};
  if (work.sequence->generated() < start.min_tokens) draw.masked_ids = start.stop_token_ids;
  const uint32_t id = DrawPseudoId(draw);
  record.outcome = DrawRecord::kDrawn;
  record.ids = {id};
  result.tokens.push_back(MakePseudoToken(id, known.log_hash, MostRanked(start), vocab_size));
  ShareRanked(start, &result.tokens.back());
  known.log_hash = ExtendLogHash(known.log_hash, id);
  return result;
}

void SimGroup::CheckPoison(const SequenceWork& work) const {
  if (!options_.poison_token) return;
  const std::vector<uint32_t>& ids = work.sequence->start.token_ids;
  const auto end = ids.begin() + work.end;
  if (std::find(ids.begin() + work.begin, end, *options_.poison_token) != end) {
    options_.on_poison(work.sequence->start.sequence);
  }
}

}  // namespace tessera::worker
