// Ranks that compute nothing and answer after a modelled time, for tests of everything above the
// kernels (--device sim).
#ifndef TESSERA_WORKER_APP_SIM_RANK_H_
#define TESSERA_WORKER_APP_SIM_RANK_H_

#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "shard_loader/mutex.h"
#include "worker/app/rank.h"
#include "worker/sim/latency_model.h"
#include "worker/sim/sim_group.h"

namespace tessera::worker {

struct SimOptions {
  int num_ranks = 1;  // of the group: this process plays all of them
  LatencyModel latency;
  double memory_gb = 80;                 // 10^9 bytes that each rank claims to have
  std::optional<uint32_t> poison_token;  // a step that computes it ends the process
  std::string trace;                     // file for a JSON line about every step; empty: none
};

// What the ranks of one group share: made once for a process, which serves one group. Thread-safe.
class SimDeployment {
 public:
  explicit SimDeployment(SimOptions options);

  // One for each session; rank numbers come with Load. Borrows this object.
  std::unique_ptr<Rank> MakeRank();

  const SimOptions& options() const { return options_; }
  // The group, made by the first rank that loads; the others must load the same.
  absl::StatusOr<SimGroup*> Join(const internal::v1::Load& load);
  // Of the group's clock.
  absl::Duration Now() const;
  std::chrono::steady_clock::time_point TimeOf(absl::Duration since_begin) const;
  void Trace(const SimStep& step);
  // Ranks described so far: each plays a host of its own, since their memory is not shared.
  int NextHost();

 private:
  absl::StatusOr<std::unique_ptr<SimGroup>> MakeGroup(const internal::v1::Load& load) const;

  const SimOptions options_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  Mutex mutex_;
  std::unique_ptr<SimGroup> group_ ABSL_GUARDED_BY(mutex_);
  int hosts_ ABSL_GUARDED_BY(mutex_) = 0;
  std::ofstream trace_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_SIM_RANK_H_
