// A group of workers, seen from the engine: steps go in, results come out, and a lost group comes
// back by itself under a higher epoch.
#ifndef TESSERA_SERVER_EXECUTOR_EXECUTOR_H_
#define TESSERA_SERVER_EXECUTOR_EXECUTOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/scheduler/step.h"

namespace tessera::server {

// What a ready group can take; the same in every epoch of a deployment.
struct GroupFacts {
  std::string numerics_id;
  std::string weights_version;
  uint32_t block_size = 16;  // tokens per KV block
  uint32_t num_kv_blocks = 0;
  uint32_t num_kv_slots = 0;  // for evicted blocks
  uint32_t max_model_len = 0;
  uint32_t max_num_batched_tokens = 0;
  uint32_t max_num_seqs = 0;
  uint32_t stages = 1;                  // of the pipeline
  uint32_t num_speculative_tokens = 0;  // that workers guess at a time, at most
  double kv_fetch_seconds = 0;          // of a block from its slot, as the slowest rank measured it
};

struct RankStatus {
  int rank = 0;
  int stage = 0;
  int tp_index = 0;
  std::string address;
  int64_t pid = 0;  // 0: not known
  std::string host;
  std::string kernels;
  uint64_t weight_bytes = 0;
  uint64_t weight_bytes_read = 0;
  uint64_t kv_bytes = 0;
  double load_fraction = 0;  // of the checkpoint bytes of this rank
  double busy_seconds = 0;   // with the steps of this epoch, as the rank tells
  double idle_seconds = 0;   // between them
};

enum class GroupState { kStarting, kLoading, kReady, kRecovering, kStopped, kFailed };

struct GroupStatus {
  GroupState state = GroupState::kStarting;
  uint64_t epoch = 0;
  int tp = 1;
  int pp = 1;
  std::string comm;
  std::string device;  // what computes and why, in words
  std::vector<RankStatus> ranks;
  uint32_t restarts = 0;
  std::string last_loss;
  absl::Duration restart_delay = absl::ZeroDuration();  // while a group that keeps dying waits
};

// What the executor tells. Called from a thread of the executor, never while it holds a lock; must
// return soon and may not call Stop().
class ExecutorEvents {
 public:
  virtual ~ExecutorEvents() = default;
  // Every rank is loaded and connected, and a real forward pass over all of them has succeeded.
  virtual void OnReady(uint64_t epoch, const GroupFacts& facts) = 0;
  // In the order of the steps.
  virtual void OnStep(uint64_t epoch, StepResult result) = 0;
  // The group is gone with everything in flight; `why` names the rank. OnReady follows when it is
  // back.
  virtual void OnLost(uint64_t epoch, const absl::Status& why) = 0;
  // A group that was being made is gone before it was ready; it will be tried again.
  virtual void OnSetback(uint64_t epoch, const absl::Status& why) = 0;
  // The group cannot be made (a bad checkpoint, degrees that do not fit): it will not be tried
  // again.
  virtual void OnFailed(const absl::Status& why) = 0;
};

// Thread-safe.
class Executor {
 public:
  virtual ~Executor() = default;
  // Begins to make the group; `events` outlives the executor.
  virtual void Start(ExecutorEvents* events) = 0;
  // Queues a step for every rank; never blocks. A step for an epoch that is over is dropped: its
  // OnLost has been, or is being, told.
  virtual void Submit(uint64_t epoch, const Step& step) = 0;
  virtual GroupStatus GetStatus() const = 0;
  // Ends the group: local workers are gone when it returns, remote ones have been told to leave.
  virtual void Stop() = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_EXECUTOR_H_
