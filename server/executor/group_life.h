// One epoch of a group: from starting its ranks to their end.
#ifndef TESSERA_SERVER_EXECUTOR_GROUP_LIFE_H_
#define TESSERA_SERVER_EXECUTOR_GROUP_LIFE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "internal/v1/worker.pb.h"
#include "server/executor/group_options.h"
#include "server/executor/group_plan.h"
#include "server/executor/launch.h"
#include "server/executor/mailbox.h"
#include "server/executor/progress_watch.h"
#include "server/executor/rank_link.h"
#include "server/executor/shared_plan.h"
#include "server/executor/status_board.h"
#include "server/executor/step_merger.h"
#include "server/scheduler/step.h"

namespace tessera::server {

// Belongs to the group's thread, but for Submit and Stop, which any may call.
class GroupLife {
 public:
  // What outlives an epoch. Borrowed.
  struct Environment {
    const GroupOptions* options = nullptr;
    const WeightMemory* weights = nullptr;  // of local ranks
    StatusBoard* board = nullptr;
    SharedPlan* shared_plan = nullptr;
  };
  GroupLife(const Environment& environment, uint64_t epoch);
  // Every local rank is gone afterwards, every remote one has lost its session.
  ~GroupLife();
  GroupLife(const GroupLife&) = delete;
  GroupLife& operator=(const GroupLife&) = delete;

  // Starts, authenticates, loads and connects the ranks, and has them do a real forward pass.
  // `plan` is decided where it is empty, and obeyed where not. CANCELLED after Stop; other errors
  // name the rank.
  absl::Status BringUp(std::optional<GroupPlan>& plan);
  // Hands results to `on_step` until the group is lost; CANCELLED after Stop.
  absl::Status Serve(const std::function<void(StepResult)>& on_step);
  // Tells every rank to leave, and gives them a moment to do so.
  void Leave();

  // Queues a step; never blocks. Only after BringUp.
  void Submit(const Step& step);
  // Ends BringUp or Serve.
  void Stop();

 private:
  using Reply = internal::v1::Reply;
  using Command = internal::v1::Command;
  struct Failure {
    int weight = 0;  // the higher, the closer to the cause
    absl::Status status;
  };

  // `reach`: the time for every rank to be there.
  absl::Status Authenticate(absl::Duration reach);
  absl::Status AnswerChallenge(int rank, const internal::v1::Challenge& challenge);
  absl::Status Load(std::optional<GroupPlan>& plan);
  // Waits until all groups can be planned.
  absl::StatusOr<GroupPlan> AwaitPlan(const std::vector<internal::v1::Description>& descriptions);
  absl::Status Connect(const GroupPlan& plan);
  absl::Status WarmUp();

  // The next reply that is not dealt with here (heartbeats, progress, the store); nullopt where
  // none has come by `deadline`. The error of whatever ends the group meanwhile.
  absl::StatusOr<std::optional<GroupEvent>> NextBy(absl::Time deadline);
  absl::StatusOr<GroupEvent> Next();
  // Names the first rank that is not among those that are `here`.
  absl::Status Late(const std::vector<bool>& here, absl::Duration time) const;
  std::string NameOf(int rank) const;
  // True where the event is dealt with.
  absl::StatusOr<bool> Handle(const GroupEvent& event);
  // One reply of this kind from every rank.
  absl::StatusOr<std::vector<Reply>> Gather(Reply::ReplyCase wanted, absl::Duration timeout);
  absl::StatusOr<std::optional<StepResult>> TakeStep(const GroupEvent& event);
  // What the ranks do now shows that they live; begins a time in which a standstill of `stall` is
  // a loss.
  void Watch(absl::Duration stall);
  absl::Status CheckWatch();
  // Shows rank_times_ on the board.
  void ShowTimes();

  Failure MakeFailure(const GroupEvent& event) const;
  Failure Weigh(const GroupEvent& event) const;
  // One cause has many effects: looks through those that come within a moment for the cause.
  absl::Status FindCause(Failure failure);
  void Send(int rank, Command command);
  void SendToAll(Command command);

  const GroupOptions& options_;
  const WeightMemory& weights_;
  const uint64_t epoch_;
  StatusBoard* const board_;
  SharedPlan* const shared_plan_;
  const int num_ranks_;

  Mailbox mailbox_;
  LaunchedGroup group_;
  std::vector<std::unique_ptr<RankLink>> links_;
  std::vector<std::string> nonces_;  // this side's, by rank
  std::optional<ProgressWatch> watch_;
  absl::Time next_check_ = absl::InfinitePast();
  StepMerger merger_;
  struct RankTime {
    uint64_t busy_ns = 0;
    uint64_t idle_ns = 0;
  };
  std::vector<RankTime> rank_times_;  // by rank, of all steps
  std::atomic<uint64_t> submitted_ = 0;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_GROUP_LIFE_H_
