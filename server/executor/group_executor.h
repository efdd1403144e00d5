// The executor of real workers: keeps a group of them alive.
#ifndef TESSERA_SERVER_EXECUTOR_GROUP_EXECUTOR_H_
#define TESSERA_SERVER_EXECUTOR_GROUP_EXECUTOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/executor/executor.h"
#include "server/executor/group_life.h"
#include "server/executor/group_options.h"
#include "server/executor/group_plan.h"
#include "server/executor/restart_backoff.h"
#include "server/executor/shared_plan.h"
#include "server/executor/status_board.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// One thread brings the group up, watches it, tells the events and, after a loss, does all of it
// again; local workers are its children. Each rank has two more threads for its stream, each local
// one two for its process. Thread-safe.
class GroupExecutor final : public Executor {
 public:
  // Checks what can be checked without a worker: FAILED_PRECONDITION for impossible degrees,
  // INVALID_ARGUMENT for options that contradict each other, NOT_FOUND where the worker's program
  // is not there.
  static absl::StatusOr<std::unique_ptr<Executor>> Create(GroupOptions options);
  // One for each of `replicas` groups that share a plan and what the host has. `options.workers`
  // are those of all: group by group, or a dns:NAME:PORT for each.
  static absl::StatusOr<std::vector<std::unique_ptr<Executor>>> CreateAll(
      const GroupOptions& options, int replicas);
  ~GroupExecutor() override;

  void Start(ExecutorEvents* events) override;
  void Submit(uint64_t epoch, const Step& step) override;
  GroupStatus GetStatus() const override { return board_.Read(); }
  void Stop() override;

 private:
  GroupExecutor(GroupOptions options, std::shared_ptr<SharedPlan> shared_plan);

  // Until Stop, or a group that cannot be made.
  void Supervise(ExecutorEvents* events);
  struct Ended {
    absl::Status why;
    bool was_ready = false;
    absl::Duration bring_up = absl::ZeroDuration();
    absl::Duration served = absl::ZeroDuration();  // ready for so long
    bool drew = false;                             // gave a token
  };
  Ended LiveOnce(uint64_t epoch, ExecutorEvents* events);
  absl::Status FreshWeightMemory();
  // True where the loss is final: told and shown as failed.
  bool GiveUp(const absl::Status& why, ExecutorEvents* events);
  // False where Stop comes first.
  bool WaitBeforeRestart(absl::Duration delay);
  void SetLife(GroupLife* life, uint64_t ready_epoch);

  const GroupOptions options_;
  const std::shared_ptr<SharedPlan> shared_plan_;  // by the groups of a server
  StatusBoard board_;

  // Of the supervising thread.
  std::optional<GroupPlan> plan_;  // fixed once a group was ready
  WeightMemory weights_;           // likewise; empty for remote ranks
  bool worked_ = false;
  int failed_starts_ = 0;
  RestartBackoff backoff_;

  Mutex mutex_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  GroupLife* life_ ABSL_GUARDED_BY(mutex_) = nullptr;  // the one that lives now
  uint64_t ready_epoch_ ABSL_GUARDED_BY(mutex_) = 0;   // 0: none is ready
  std::thread thread_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_GROUP_EXECUTOR_H_
