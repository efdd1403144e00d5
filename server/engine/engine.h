// One replica: a thread around EngineCore, and the queue by which everyone else talks to it.
#ifndef TESSERA_SERVER_ENGINE_ENGINE_H_
#define TESSERA_SERVER_ENGINE_ENGINE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/engine/engine_core.h"
#include "server/engine/engine_options.h"
#include "server/engine/loss_log.h"
#include "server/engine/request.h"
#include "server/engine/response_stream.h"
#include "server/executor/executor.h"
#include "server/metrics/counters.h"
#include "server/text/tokenizer.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

enum class EngineState { kStarting, kReady, kRecovering, kDraining, kFailed };

struct EngineCondition {
  EngineState state = EngineState::kStarting;
  bool was_ready = false;  // at least once
  std::string why;         // of kRecovering and kFailed
};

// Thread-safe. Answers travel through a ResponseStream each.
class Engine : public ExecutorEvents {
 public:
  // Borrows all three; `on_condition` is told every change, from the engine's thread, and must not
  // block. The executor may be stopped before or after this object is destroyed, but tells it
  // nothing after that.
  Engine(const EngineOptions& options, const Tokenizer& tokenizer, Executor& executor,
         Counters& counters, std::function<void(const EngineCondition&)> on_condition);
  ~Engine() override;  // ends what is still running with CANCELLED

  // Begins to make the group.
  void Start();

  // Hands a request to the engine and returns its key. An error says that it was not taken, and the
  // stream stays empty: ALREADY_EXISTS, RESOURCE_EXHAUSTED (the queue is full), UNAVAILABLE
  // (draining, failed). `stream` is shared with the engine until its last event.
  absl::StatusOr<uint64_t> Submit(Request request, std::shared_ptr<ResponseStream> stream);
  // The reader has left. Keys of requests that have ended are ignored.
  void Cancel(uint64_t key);

  // Refuses new requests from now on.
  void BeginDrain();
  // Waits until all requests have ended; cuts the rest with UNAVAILABLE at `deadline`. False where
  // it had to. Nothing else may wait: one caller.
  bool FinishDrain(absl::Time deadline);
  // Lets FinishDrain cut at once.
  void CutDrain();

  EngineCondition condition() const;
  size_t num_live() const;
  std::string numerics_id() const;  // empty until the group has been ready once
  // The newest losses of the group, oldest first.
  std::vector<LossRecord> losses() const { return losses_.Read(); }
  const EngineOptions& options() const { return options_; }

  void OnReady(uint64_t epoch, const GroupFacts& facts) override;
  void OnStep(uint64_t epoch, StepResult result) override;
  void OnLost(uint64_t epoch, const absl::Status& why) override;
  void OnFailed(const absl::Status& why) override;

 private:
  using Message = std::function<void(EngineCore&)>;

  void Post(Message message);
  void PostLocked(Message message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run();
  // Waits for messages until `deadline`; empty where that came first or the engine stops.
  std::deque<Message> Receive(absl::Time deadline, bool& stop);
  void SetCondition(EngineState state, const std::string& why);

  const EngineOptions options_;
  Executor& executor_;
  Counters& counters_;
  const std::function<void(const EngineCondition&)> on_condition_;

  mutable Mutex mutex_;
  CondVar inbox_changed_;
  CondVar live_changed_;
  std::deque<Message> inbox_ ABSL_GUARDED_BY(mutex_);
  // OK, or why the queue takes no more.
  absl::Status CheckQueue(size_t tokens) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  QueueLoad queue_ ABSL_GUARDED_BY(mutex_);  // as the core says, and those on the way to it
  QueueLoad on_the_way_ ABSL_GUARDED_BY(mutex_);
  absl::Duration queue_wait_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  std::map<std::string, uint64_t> keys_ ABSL_GUARDED_BY(mutex_);  // of the living, by request id
  uint64_t next_key_ ABSL_GUARDED_BY(mutex_) = 1;
  EngineCondition condition_ ABSL_GUARDED_BY(mutex_);
  std::string numerics_id_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool cut_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;

  LossLog losses_;
  EngineCore core_;  // of the thread
  std::thread thread_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_ENGINE_H_
