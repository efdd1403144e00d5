// Puts the ranks' answers to a step together, and notices a rank that computes something else.
#ifndef TESSERA_SERVER_EXECUTOR_STEP_MERGER_H_
#define TESSERA_SERVER_EXECUTOR_STEP_MERGER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "internal/v1/worker.pb.h"
#include "server/scheduler/step.h"

namespace tessera::server {

// Every rank answers every step, in their order. Those that do not draw may answer later: they need
// the ids for the next step of the same sequences only. Thread-compatible.
class StepMerger {
 public:
  // The ranks of a stage follow one another, `tp` of them; the first of the last stage draws.
  explicit StepMerger(int num_ranks, int tp = 1)
      : tp_(tp), drawing_rank_(num_ranks - tp), answered_(num_ranks, 0) {}

  // The result of a step, from the rank that draws. INTERNAL, naming the rank, where it answers
  // another step than the first rank did, has drawn other tokens, or has computed another residual
  // than its stage.
  absl::StatusOr<std::optional<StepResult>> Add(int rank, const internal::v1::StepResult& answer);
  // Steps that every rank has answered.
  uint64_t merged() const { return merged_; }

 private:
  struct RankHash {
    int rank = 0;
    uint64_t hash = 0;
  };
  struct Pending {
    uint64_t step = 0;
    uint64_t ids_hash = 0;
    int first_rank = 0;
    int answers = 0;
    std::map<int, RankHash> residuals;  // by stage
  };
  static absl::Status Diverges(const RankHash& rank, const RankHash& first, const char* what,
                               uint64_t step);

  const int tp_;
  const int drawing_rank_;
  std::vector<uint64_t> answered_;  // steps, by rank
  uint64_t merged_ = 0;
  std::deque<Pending> pending_;  // the first is the step number `merged_`
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_STEP_MERGER_H_
