// The rank that draws: from rows of logits to the results of a step, by rule 6 of worker/README.md.
#ifndef TESSERA_WORKER_RUNNER_STEP_SAMPLER_H_
#define TESSERA_WORKER_RUNNER_STEP_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/runner/drafter.h"
#include "worker/runner/sequences.h"
#include "worker/runner/step.h"
#include "worker/sampling/sampler.h"

namespace tessera::worker {

// What the draw of a sequence's next token depends on beside the logits.
DrawContext ContextOf(const Sequence& sequence);
// Of the token behind `ids`, which are the sequence's and maybe guesses; borrowed.
DrawContext ContextOf(const Sequence& sequence, absl::Span<const uint32_t> ids);

// Which draft the row of `position` is of, counted from 1; 0: of none.
uint32_t DraftOf(const SequenceWork& work, uint32_t position);
// A row of drafts follows from what the rows before it drew, which `record` has: it counts only
// where those were the drafts, and the sequence goes on.
bool RowCounts(const SequenceWork& work, uint32_t draft, const DrawRecord& record);

// Thread-compatible.
class StepSampler {
 public:
  // `drafter` is null where nothing is guessed; `most_drafts` at a time.
  StepSampler(Sampler sampler, std::unique_ptr<Drafter> drafter, uint32_t most_drafts);

  // Before a step's rows: what it ends, grants and copies.
  void Follow(const StepInput& step);

  // Rows of one work, in ascending order: the logits [vocab] of `position`. A sequence's ids grow
  // with what is drawn, so that the next row finds it as if it were the only one of its step.
  void Row(const SequenceWork& work, uint32_t position, const float* logits, SequenceResult* result,
           DrawRecord* record);

  // After the rows: the sequences' ids are as they were before, and records have their drafts.
  absl::Status Finish(const SequenceTable& table, const std::vector<SequenceWork>& work,
                      std::vector<DrawRecord>* records);

 private:
  void PromptRow(const SequenceWork& work, uint32_t position, const float* logits,
                 double log_sum_exp, SequenceResult* result);
  absl::Status DrawRow(const SequenceWork& work, const float* logits, double log_sum_exp,
                       SequenceResult* result, DrawRecord* record);
  // What is worth guessing behind the ids that a record has just added.
  uint32_t DraftCount(const SequenceTable& table, const SequenceWork& work,
                      const DrawRecord& record);

  Sampler sampler_;
  const std::unique_ptr<Drafter> drafter_;
  const uint32_t most_drafts_;
  std::unordered_map<uint64_t, DraftLength> lengths_;  // by sequence
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_STEP_SAMPLER_H_
