// The step loop of one replica without its thread: messages in, steps and events out.
#ifndef TESSERA_SERVER_ENGINE_ENGINE_CORE_H_
#define TESSERA_SERVER_ENGINE_ENGINE_CORE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/engine/engine_options.h"
#include "server/engine/loss_log.h"
#include "server/engine/request.h"
#include "server/engine/response_stream.h"
#include "server/engine/sequence.h"
#include "server/engine/suspects.h"
#include "server/executor/executor.h"
#include "server/metrics/counters.h"
#include "server/scheduler/scheduler.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

// Owns the scheduler, the KV bookkeeping and the logs; server/engine/README.md is the contract.
// Owned by one thread; Time is passed in. Borrows what its constructor is given.
class EngineCore {
 public:
  struct Environment {
    const Tokenizer* tokenizer = nullptr;
    Executor* executor = nullptr;
    Counters* counters = nullptr;
    LossLog* losses = nullptr;
    // A request is over: called before its last event, so that its id may be used again then.
    std::function<void(const Request&)> on_end;
    // The buffer of request `key` is down to a half; called from its reader's thread.
    std::function<void(uint64_t key)> on_drained;
  };

  EngineCore(const EngineOptions& options, Environment environment);

  // `key` ascends. The answer, also of a refusal, goes to `stream` (shared with its reader).
  void Submit(uint64_t key, Request request, std::shared_ptr<ResponseStream> stream);
  // Ends requests with `status`; unknown keys are ignored. The blocks are free at once.
  void Cancel(uint64_t key, const absl::Status& status);
  void CancelAll(const absl::Status& status);
  void Drained(uint64_t key);

  // What the executor tells (server/executor/executor.h).
  void OnReady(uint64_t epoch, const GroupFacts& facts, absl::Time now);
  void OnStep(uint64_t epoch, StepResult result);
  void OnLost(uint64_t epoch, const absl::Status& why, absl::Time now);
  void OnFailed(const absl::Status& why);

  // What time it is for what follows, until Tick or the next call says otherwise.
  void At(absl::Time now);
  // Ends what is overdue, and submits steps as long as more may be under way.
  void Tick(absl::Time now);
  // When Tick has something to do although no message came.
  absl::Time NextDeadline() const;

  // Requests that have not been in a step yet.
  size_t num_queued() const { return num_queued_; }
  size_t num_live() const { return live_.size(); }

 private:
  struct Live {
    std::shared_ptr<ResponseStream> stream;
    std::optional<Request> request;      // until the group's facts are known
    std::unique_ptr<Sequence> sequence;  // from then on
    absl::Time arrival;
    absl::Time deadline;
    uint32_t admission = 0;
    bool queued = true;
    bool accepted = false;                 // AcceptedEvent sent
    std::optional<absl::Time> last_token;  // when it came
    std::optional<absl::Time> paused_since;
    absl::Time wake = absl::InfiniteFuture();  // as deadlines_ has it
    uint64_t drawn_step = 0;                   // the last one that brought tokens
    std::optional<uint32_t> cached_tokens;     // of the prompt, when it was first admitted
  };

  bool ready() const { return scheduler_ != nullptr; }
  // Counts tokens that have just entered the log.
  void CountTokens(Live& live, size_t count);
  // Counts what a step that has just been scheduled computes of prompts and replayed logs.
  void CountPrefill(const Step& step);
  // Makes the sequence, tells Accepted, and gives it to the scheduler; or ends the request.
  void Admit(uint64_t key, Live& live);
  void Accept(Live& live);
  Live* Find(uint64_t key);
  std::vector<uint64_t> Keys() const;  // of all that live, in the order of arrival
  SequenceInfo InfoOf(const Live& live) const;
  void Apply(uint64_t step, SequenceResult& result);
  void Finish(uint64_t key);
  // Removes a request and tells its reader.
  void End(uint64_t key, const absl::Status& status, bool discard = false);
  void EndOverdue();
  void Pause(uint64_t key, Live& live);
  // Brings deadlines_ up to date.
  void SetWake(uint64_t key, Live& live);
  // False where there is nothing to compute now.
  bool NextStep();
  // Tells the scheduler who may run: nobody whose reader is slow, or who is held back.
  void UpdatePaused();
  void RecordLoss(uint64_t epoch, const absl::Status& why, absl::Time now);
  void LeaveQueue(Live& live);
  void PublishFigures();

  const EngineOptions options_;
  const Environment environment_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Live>> live_;
  std::set<std::pair<absl::Time, uint64_t>> deadlines_;  // of those that have one
  size_t num_queued_ = 0;
  absl::Time now_ = absl::InfiniteFuture();
  std::deque<absl::Time> sent_;  // when the steps under way were
  uint64_t epoch_ = 0;
  GroupFacts facts_;
  std::unique_ptr<Scheduler> scheduler_;  // while there is a group
  uint64_t earlier_preemptions_ = 0;      // of former epochs
  Suspects suspects_;
  std::optional<absl::Status> failed_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_ENGINE_CORE_H_
