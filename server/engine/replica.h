// One replica: a thread around EngineCore, and the queue by which everyone else talks to it.
#ifndef TESSERA_SERVER_ENGINE_REPLICA_H_
#define TESSERA_SERVER_ENGINE_REPLICA_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/engine_condition.h"
#include "server/engine/engine_core.h"
#include "server/engine/engine_options.h"
#include "server/engine/live_request.h"
#include "server/engine/loss_log.h"
#include "server/engine/request.h"
#include "server/engine/response_stream.h"
#include "server/executor/executor.h"
#include "server/metrics/counters.h"
#include "server/text/tokenizer.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// Thread-safe.
class Replica : public ExecutorEvents {
 public:
  // Borrowed. The functions are called on the replica's thread and must not block.
  struct Environment {
    const Tokenizer* tokenizer = nullptr;
    Executor* executor = nullptr;
    Counters* counters = nullptr;
    std::string group = "the group";             // its name in the log
    std::function<void(const Request&)> on_end;  // as EngineCore's
    std::function<void()> on_condition;          // condition() has changed
    std::function<void()> on_lost;               // what the group had computed is gone
    // Of several replicas only. Looks for another one for a request, as EngineCore's.
    std::function<bool(const MoveOffer&, absl::FunctionRef<MovedRequest()> leave)> move;
    std::function<void()> on_room;               // others may find room here now
    std::function<void(uint64_t key)> on_stray;  // of Cancel: the request is not here any more
  };

  Replica(const EngineOptions& options, Environment environment);
  ~Replica() override;  // Stop

  // Begins to make the group.
  void Start();
  // Ends the thread. What messages ask for is done, and what is still running then is ended with
  // CANCELLED.
  void Stop();

  void Submit(uint64_t key, Request request, std::shared_ptr<ResponseStream> stream);
  // The reader has left.
  void Cancel(uint64_t key);
  // Ends all requests, also those that come later.
  void CutOff(const absl::Status& status);

  // Whether a request of another replica may come here now, and, with Adopt, that it does. One
  // caller at a time.
  bool Takes(const MoveOffer& offer) const;
  void Adopt(MovedRequest moved, const Room& need);
  // Others have room: has it offer what cannot run here, now or as soon as there is anything.
  void AskForOffers();

  // Of this replica alone: never draining.
  EngineCondition condition() const;
  std::string numerics_id() const;  // empty until the group has been ready once
  // Those that wait for their first step, here or on the way, and how long they will need.
  struct Queue {
    QueueLoad load;
    absl::Duration wait = absl::ZeroDuration();
  };
  Queue queue() const;
  // The newest losses of the group, oldest first.
  std::vector<LossRecord> losses() const { return losses_.Read(); }
  GroupStatus group() const { return environment_.executor->GetStatus(); }
  const Counters& counters() const { return *environment_.counters; }

  void OnReady(uint64_t epoch, const GroupFacts& facts) override;
  void OnStep(uint64_t epoch, StepResult result) override;
  void OnLost(uint64_t epoch, const absl::Status& why) override;
  void OnSetback(uint64_t epoch, const absl::Status& why) override;
  void OnFailed(const absl::Status& why) override;

 private:
  using Message = std::function<void(EngineCore&)>;

  void Post(Message message);
  void PostLocked(Message message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run();
  // Waits for messages until `deadline`; empty where that came first or the thread is to end.
  std::deque<Message> Receive(absl::Time deadline, bool& stop);
  void SetCondition(EngineState state, const std::string& why);
  // Shows the others what the core says of itself.
  void Publish();
  void OfferWhereAsked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Environment environment_;

  mutable Mutex mutex_;
  CondVar inbox_changed_;
  std::deque<Message> inbox_ ABSL_GUARDED_BY(mutex_);
  QueueLoad queue_ ABSL_GUARDED_BY(mutex_);  // as the core says, and those on the way to it
  QueueLoad on_the_way_ ABSL_GUARDED_BY(mutex_);
  absl::Duration queue_wait_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  bool group_ready_ ABSL_GUARDED_BY(mutex_) = false;   // also while the core does not know yet
  bool takes_others_ ABSL_GUARDED_BY(mutex_) = false;  // as the core says, like those below
  bool has_offers_ ABSL_GUARDED_BY(mutex_) = false;
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;  // for offers, when there were none
  Room room_ ABSL_GUARDED_BY(mutex_);
  Room arriving_ ABSL_GUARDED_BY(mutex_);  // taken by those on the way to it
  EngineCondition condition_ ABSL_GUARDED_BY(mutex_);
  std::string numerics_id_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;

  LossLog losses_;
  EngineCore core_;  // of the thread
  std::thread thread_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_REPLICA_H_
