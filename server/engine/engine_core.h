// The step loop of one replica without its thread: messages in, steps and events out.
#ifndef TESSERA_SERVER_ENGINE_ENGINE_CORE_H_
#define TESSERA_SERVER_ENGINE_ENGINE_CORE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "server/engine/engine_options.h"
#include "server/engine/live_request.h"
#include "server/engine/loss_log.h"
#include "server/engine/queue_rate.h"
#include "server/engine/request.h"
#include "server/engine/response_stream.h"
#include "server/engine/sequence_group.h"
#include "server/engine/suspects.h"
#include "server/executor/executor.h"
#include "server/metrics/counters.h"
#include "server/scheduler/scheduler.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

struct QueueLoad {
  size_t requests = 0;
  size_t tokens = 0;  // of their prompts, and of what they continue
};

// Owns the scheduler, the KV bookkeeping and the logs; server/engine/README.md is the contract.
// Owned by one thread; Time is passed in. Borrows what its constructor is given.
class EngineCore {
 public:
  struct Environment {
    const Tokenizer* tokenizer = nullptr;
    Executor* executor = nullptr;
    Counters* counters = nullptr;
    LossLog* losses = nullptr;
    std::string group = "the group";  // its name in the log
    // A request is over: called before its last event, so that its id may be used again then.
    std::function<void(const Request&)> on_end;
    // The buffer of request `key` is down to a half; called from its reader's thread.
    std::function<void(uint64_t key)> on_drained;
    // Looks for another replica for a request that cannot run here now. Where there is one, `leave`
    // is called and what it returns goes there; false where there is none. Empty: there are no
    // others.
    std::function<bool(const MoveOffer&, absl::FunctionRef<MovedRequest()> leave)> move;
  };

  EngineCore(const EngineOptions& options, Environment environment);

  // `key` ascends. The answer, also of a refusal, goes to `stream` (shared with its reader).
  void Submit(uint64_t key, Request request, std::shared_ptr<ResponseStream> stream);
  // Ends a request with `status`: its blocks are free at once. False where it is not here.
  bool Cancel(uint64_t key, const absl::Status& status);
  void CancelAll(const absl::Status& status);
  // Likewise, and those that come later.
  void CutOff(const absl::Status& status);
  void Drained(uint64_t key);

  // A request of another replica goes on here, from its log.
  void Adopt(MovedRequest moved);
  // Offers to other replicas what cannot run here now: all while the group is away, and while
  // there are suspects those that are held back. Suspects stay: they have killed enough.
  void OfferElsewhere() { Offer(/*urgent=*/false); }
  // Whether there is anything to offer.
  bool has_offers() const { return !live_.empty() && (!ready() || suspects_.trying()); }
  // What a request from elsewhere finds free; nothing where others wait for it.
  Room room() const;
  // Whether one could run here, if it waited.
  bool takes_others() const { return ready() && !suspects_.trying() && !closed_; }

  // What the executor tells (server/executor/executor.h).
  void OnReady(uint64_t epoch, const GroupFacts& facts, absl::Time now);
  void OnStep(uint64_t epoch, StepResult result);
  void OnLost(uint64_t epoch, const absl::Status& why, absl::Time now);
  void OnSetback(uint64_t epoch, const absl::Status& why, absl::Time now);
  void OnFailed(const absl::Status& why);

  // What time it is for what follows, until Tick or the next call says otherwise.
  void At(absl::Time now);
  // Ends what is overdue, and submits steps as long as more may be under way.
  void Tick(absl::Time now);
  // When Tick has something to do although no message came.
  absl::Time NextDeadline() const;

  // Requests that have not been in a step yet.
  const QueueLoad& queue() const { return queue_; }
  // How long those that are queued now will need to leave; zero while that is not known.
  absl::Duration queue_wait() const { return queue_rate_.Wait(queue_.tokens); }
  size_t num_live() const { return live_.size(); }

 private:
  using Live = LiveRequest;

  bool ready() const { return scheduler_ != nullptr; }
  // A sequence of a request, by its id.
  struct SequencePlace {
    uint64_t key = 0;
    SequenceGroup::Member* member = nullptr;
  };

  // Counts tokens of answer `index` that have just entered the log.
  void CountTokens(Live& live, uint32_t index, size_t count);
  // Counts what a step that has just been scheduled computes of prompts and replayed logs.
  uint32_t CountPrefill(const Step& step);
  // Learns from the oldest step under way, which has been reported, what computing costs.
  void LearnPace();
  // Makes the sequences, tells Accepted, and gives them to the scheduler; or ends the request.
  void Admit(uint64_t key, Live& live);
  // Why a request can never be answered here; `longest` tokens are the most of one sequence.
  absl::Status CheckFits(const Request& request, uint64_t longest) const;
  // False where the request had to be ended.
  bool Place(uint64_t key, Live& live, SequenceGroup::Member& member);
  void Accept(Live& live);
  Live* Find(uint64_t key);
  std::vector<uint64_t> Keys() const;  // of all that live, in the order of arrival
  SequenceInfo InfoOf(uint64_t key, const Live& live, const SequenceGroup::Member& member) const;
  void Apply(uint64_t step, SequenceResult& result);
  // Does what the results of a step call for; ends the request where nothing is left to compute.
  void Settle(uint64_t key);
  void Forget(const SequenceGroup::Member& member);
  // Removes a request and tells its reader.
  void End(uint64_t key, const absl::Status& status, bool discard = false);
  void EndOverdue();
  void Pause(uint64_t key, Live& live);
  void UpdatePaused(uint64_t key, const Live& live);
  bool IsPaused(uint64_t key, const Live& live, const SequenceGroup::Member& member) const;
  void Tell(Live& live, std::vector<ResponseEvent> events);
  // Brings deadlines_ up to date.
  void SetWake(uint64_t key, Live& live);
  // False where there is nothing to compute now.
  bool NextStep();
  // Tells the scheduler who may run: nobody whose reader is slow, or who is held back.
  void UpdatePaused();
  void RecordLoss(uint64_t epoch, const absl::Status& why, absl::Time now);
  // DEADLINE_EXCEEDED where a request that comes now would only wait until its deadline.
  absl::Status CheckWait(const Live& live) const;
  void EnterQueue(Live& live);
  void LeaveQueue(Live& live);
  void Offer(bool urgent);
  // True where the request has left.
  bool OfferOne(uint64_t key, bool urgent);
  // The request is no longer here.
  MovedRequest Leave(uint64_t key);
  Room NeedOf(const Live& live) const;
  void PublishFigures();

  const EngineOptions options_;
  const Environment environment_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Live>> live_;
  std::set<std::pair<absl::Time, uint64_t>> deadlines_;  // of those that have one
  absl::flat_hash_map<uint64_t, SequencePlace> places_;  // by sequence
  uint64_t next_sequence_ = 1;
  QueueLoad queue_;
  std::map<std::pair<std::string, int32_t>, uint64_t> queued_tokens_;  // by tenant and priority
  QueueRate queue_rate_;
  absl::Time now_ = absl::InfiniteFuture();
  // A step under way: when it was sent, and what it computes.
  struct Sent {
    absl::Time at;
    uint32_t tokens = 0;
    uint32_t prompt_tokens = 0;
  };
  std::deque<Sent> sent_;
  absl::Time last_reported_ = absl::InfinitePast();
  PromptPace pace_;
  uint64_t epoch_ = 0;
  GroupFacts facts_;
  std::unique_ptr<Scheduler> scheduler_;  // while there is a group
  // Of former epochs.
  uint64_t earlier_preemptions_ = 0;
  uint64_t earlier_spilled_ = 0;
  uint64_t earlier_fetched_ = 0;
  uint64_t earlier_fetched_tokens_ = 0;
  absl::Time urgent_ =
      absl::InfiniteFuture();  // while the group is away: when to offer without room
  Suspects suspects_;
  std::optional<absl::Status> closed_;  // how every request ends that comes
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_ENGINE_CORE_H_
