// The ranks of a simulated group, which one process plays together: what every step gives, and when
// each stage is done with it. No weights, no cache, no communicator.
#ifndef TESSERA_WORKER_SIM_SIM_GROUP_H_
#define TESSERA_WORKER_SIM_SIM_GROUP_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "shard_loader/mutex.h"
#include "worker/runner/sequences.h"
#include "worker/runner/step.h"
#include "worker/sim/latency_model.h"
#include "worker/sim/pipeline.h"

namespace tessera::worker {

struct SimGroupOptions {
  LatencyModel latency;
  std::vector<StageShare> stages;
  SequenceLimits limits;
  int num_ranks = 1;
  // A step that computes this token calls `on_poison`, which is expected not to return.
  std::optional<uint32_t> poison_token;
  std::function<void(uint64_t sequence)> on_poison = [](uint64_t) {};
};

// A step as all ranks share it.
struct SimStep {
  StepOutput output;  // with the results
  StepLoad load;
  std::vector<Busy> stages;
};

// The ranks run the same steps in the same order, each at its own pace: the first one that comes to
// a step decides it for all. Thread-safe.
class SimGroup {
 public:
  explicit SimGroup(SimGroupOptions options);

  // The next step of `rank`, which has it at `now` (since the group's begin, ascending for each
  // rank). `decode` gives its content, where this rank is the first. INTERNAL for a step that the
  // protocol does not allow, or that is not the one that the other ranks had.
  absl::StatusOr<std::shared_ptr<const SimStep>> Next(int rank, uint64_t step, absl::Duration now,
                                                      const std::function<StepInput()>& decode);

 private:
  struct Known {
    uint64_t log_hash = 0;  // of all its ids
    absl::Duration ids_at;  // when its last drawn id is there
  };
  struct Pending {
    uint64_t step = 0;
    absl::Status status;
    std::shared_ptr<const SimStep> decided;  // shared by the ranks
    int taken = 0;
  };

  absl::Status Decide(const StepInput& input, absl::Duration now, SimStep& decided)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Draws and reports for one piece of work, as Runner does.
  SequenceResult Draw(const SequenceWork& work, Known& known, DrawRecord& record) const;
  void CheckPoison(const SequenceWork& work) const;

  const SimGroupOptions options_;

  Mutex mutex_;
  SequenceTable sequences_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, Known> known_ ABSL_GUARDED_BY(mutex_);
  Pipeline pipeline_ ABSL_GUARDED_BY(mutex_);
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);  // the first is step number first_
  uint64_t first_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> taken_ ABSL_GUARDED_BY(mutex_);  // steps, by rank
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_SIM_SIM_GROUP_H_
