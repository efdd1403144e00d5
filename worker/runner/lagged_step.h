// A step whose tokens are drawn on a device and not known yet: the next one is computed behind it,
// with ids that the device puts in.
#ifndef TESSERA_WORKER_RUNNER_LAGGED_STEP_H_
#define TESSERA_WORKER_RUNNER_LAGGED_STEP_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "worker/runner/device_sampler.h"
#include "worker/runner/sequences.h"
#include "worker/runner/step.h"

namespace tessera::worker {

class LaggedStep {
 public:
  LaggedStep(uint64_t step, std::vector<SequenceWork> work, std::vector<LogitRow> rows)
      : step_(step), work_(std::move(work)), rows_(std::move(rows)) {}

  const std::vector<LogitRow>& rows() const { return rows_; }
  const std::vector<SequenceWork>& work() const { return work_; }

  // Every sequence goes on behind the place of its token.
  void AdvanceAhead(SequenceTable* table);
  // Whether `step` may be computed before this one's tokens are known: it ends none of its
  // sequences, and no draw depends on more of them than their number.
  bool CanBeFollowedBy(const StepInput& step) const;
  // The ids of rows, [num_rows], where they are not known yet: as Batch::ids names them.
  void FillUnknown(const std::vector<SequenceWork>& next_work, std::vector<uint32_t>* ids) const;
  // What has become of it. Sequences that ended with a token of it are gone from `next`, the step
  // that was computed behind it, or null.
  StepOutput Resolve(const std::vector<DrawRecord>& records, std::vector<SequenceResult> results,
                     SequenceTable* table, LaggedStep* next) const;

 private:
  void Forget(const Sequence* sequence);

  uint64_t step_;
  std::vector<SequenceWork> work_;
  std::vector<LogitRow> rows_;
  std::vector<uint32_t> positions_;  // by work: of its token, where it draws
  std::vector<Finish> finishes_;     // by work: by the number of tokens alone
  std::vector<bool> gone_;           // by work
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_LAGGED_STEP_H_
