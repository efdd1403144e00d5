#include "worker/runner/lagged_step.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "worker/model/decoder.h"
#include "worker/runner/ids_hash.h"

namespace tessera::worker {
namespace {

// Whether the draw behind a token needs to know which one that is.
bool DependsOnIds(const SequenceStart& start) {
  const SamplingParams& params = start.sampling;
  return params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f ||
         params.frequency_penalty != 0.0f || !start.restrictions.bad_words.empty();
}

}  // namespace

void LaggedStep::AdvanceAhead(SequenceTable* table) {
  for (const SequenceWork& work : work_) {
    table->AdvanceAhead(work);
    positions_.push_back(work.sequence->known() - 1);
    finishes_.push_back(work.sequence->finish);
  }
  gone_.assign(work_.size(), false);
}

bool LaggedStep::CanBeFollowedBy(const StepInput& step) const {
  std::unordered_map<uint64_t, const SequenceWork*> drawing;
  for (const SequenceWork& work : work_) {
    if (work.draws) drawing[work.sequence->start.sequence] = &work;
  }
  for (uint64_t sequence : step.ends) {
    // Also one without a draw: its work is looked at again.
    for (const SequenceWork& work : work_) {
      if (work.sequence->start.sequence == sequence) return false;
    }
  }
  return std::none_of(step.entries.begin(), step.entries.end(), [&](const SequenceStep& entry) {
    const auto found = drawing.find(entry.sequence);
    return found != drawing.end() && DependsOnIds(found->second->sequence->start);
  });
}

void LaggedStep::FillUnknown(const std::vector<SequenceWork>& next_work,
                             std::vector<uint32_t>* ids) const {
  std::unordered_map<const Sequence*, uint32_t> drawn;  // the row of the draw
  for (size_t r = 0; r < rows_.size(); ++r) {
    drawn[work_[rows_[r].work].sequence] = static_cast<uint32_t>(r);
  }
  size_t row = 0;
  for (const SequenceWork& work : next_work) {
    for (uint32_t position = work.begin; position < work.end; ++position, ++row) {
      if ((*ids)[row] == kUnknownId) (*ids)[row] = kDrawnIds + drawn.at(work.sequence);
    }
  }
}

void LaggedStep::Forget(const Sequence* sequence) {
  for (size_t w = 0; w < work_.size(); ++w) {
    if (work_[w].sequence == sequence) gone_[w] = true;
  }
}

StepOutput LaggedStep::Resolve(const std::vector<DrawRecord>& records,
                               std::vector<SequenceResult> results, SequenceTable* table,
                               LaggedStep* next) const {
  StepOutput output;
  output.step = step_;
  IdsHash hash;
  for (size_t w = 0; w < work_.size(); ++w) {
    if (gone_[w]) continue;
    Sequence& sequence = *work_[w].sequence;
    SequenceResult result = std::move(results[w]);
    result.sequence = sequence.start.sequence;
    result.admission = sequence.start.admission;
    result.finish = finishes_[w];
    if (work_[w].draws) {
      table->Resolve(&sequence, positions_[w], records[w]);
      const bool failed = records[w].outcome != DrawRecord::kDrawn;
      if (failed) result.finish = Finish::kFailed;
      for (uint32_t id : records[w].ids) {
        hash.Add(sequence.start.sequence, id);
        if (IsStop(sequence, id)) result.finish = Finish::kStop;
      }
      const bool ends = result.finish == Finish::kFailed || result.finish == Finish::kStop;
      if (ends && next != nullptr) next->Forget(&sequence);
    }
    output.results.push_back(std::move(result));
  }
  output.ids_hash = hash.value();
  return output;
}

}  // namespace tessera::worker
