// The replicas of a server, as one to everyone in front of them.
#ifndef TESSERA_SERVER_ENGINE_ENGINE_H_
#define TESSERA_SERVER_ENGINE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/engine/engine_condition.h"
#include "server/engine/engine_options.h"
#include "server/engine/prefix_router.h"
#include "server/engine/replica.h"
#include "server/engine/request.h"
#include "server/engine/response_stream.h"
#include "server/executor/executor.h"
#include "server/metrics/counters.h"
#include "server/text/tokenizer.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// What a replica has for itself. Borrowed.
struct ReplicaParts {
  Executor* executor = nullptr;
  Counters* counters = nullptr;
};

// Knows which requests live, and where: each on one replica, that PrefixRouter chose among those
// that are ready or, where none is, among those that will be. Those of a replica whose group is
// lost go to others that have room. Thread-safe. Answers travel through a ResponseStream each.
class Engine {
 public:
  // One to PrefixRouter::kMostReplicas. Borrows all; `on_condition` is told every change of what
  // the replicas are together, by one thread at a time, and must not block. The executors may be
  // stopped before or after this object is destroyed, but tell it nothing after that.
  Engine(const EngineOptions& options, const Tokenizer& tokenizer,
         const std::vector<ReplicaParts>& replicas,
         std::function<void(const EngineCondition&)> on_condition);
  ~Engine();  // ends what is still running with CANCELLED

  // Begins to make the groups.
  void Start();

  // Hands a request to a replica and returns its key. An error says that it was not taken, and the
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

  // Of all replicas together.
  EngineCondition condition() const;
  size_t num_live() const;
  std::string numerics_id() const;  // empty until a group has been ready
  const EngineOptions& options() const { return options_; }
  const std::vector<std::unique_ptr<Replica>>& replicas() const { return replicas_; }

 private:
  // How busy every replica is of those that take requests now or, where none does, that will; the
  // others are negative.
  std::vector<int64_t> Loads() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<EngineCondition> Conditions() const;  // by replica
  // OK, or why no request is taken.
  absl::Status CheckOpen(const Request& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // OK, or why the queue takes no more.
  absl::Status CheckQueue(size_t tokens) const;
  void Ended(const Request& request);
  // What a replica asks for (Replica::Environment).
  bool Move(int from, const MoveOffer& offer, absl::FunctionRef<MovedRequest()> leave);
  // The least busy replica that takes it; -1: none does.
  int WhoTakes(int from, const MoveOffer& offer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellOfRoom(int replica);
  // Where there is a choice; else empty.
  std::vector<uint64_t> BeginningsOf(const Request& request) const;
  void Lost(int replica);
  void TellCondition();

  const EngineOptions options_;
  const std::function<void(const EngineCondition&)> on_condition_;

  mutable Mutex mutex_;  // may be held while a replica's is taken, not the other way round
  CondVar live_changed_;
  std::map<std::string, uint64_t> keys_ ABSL_GUARDED_BY(mutex_);  // of the living, by request id
  absl::flat_hash_map<uint64_t, int> places_ ABSL_GUARDED_BY(mutex_);  // their replicas, by key
  std::vector<int64_t> live_ ABSL_GUARDED_BY(mutex_);                  // how many, by replica
  PrefixRouter router_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_key_ ABSL_GUARDED_BY(mutex_) = 1;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool cut_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;  // nothing moves any more

  Mutex tell_mutex_;  // one tells at a time; taken before the others
  EngineCondition told_ ABSL_GUARDED_BY(tell_mutex_);

  std::vector<std::unique_ptr<Replica>> replicas_;  // the same ones from construction on
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_ENGINE_H_
