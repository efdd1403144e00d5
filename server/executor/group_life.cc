#include "server/executor/group_life.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/rpc/error_site.h"
#include "proto/rpc/session_auth.h"
#include "proto/rpc/version.h"
#include "server/executor/step_codec.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

namespace v1 = internal::v1;

constexpr absl::Duration kTick = absl::Milliseconds(250);
constexpr absl::Duration kPlanTick = absl::Milliseconds(20);
constexpr absl::Duration kCauseTime = absl::Milliseconds(200);
// For a remote rank that was there before to be found again. Then its name is looked up anew.
constexpr absl::Duration kReachTime = absl::Seconds(5);
constexpr absl::Duration kLeaveTime = absl::Seconds(2);
// The watch finds a hanging rank first; this is for a rank that waits for a peer that is gone
// without a trace.
constexpr int kCollectiveTimeouts = 6;
// Steps from one that compares the ranks' residual streams to the next; the warm-up is one.
constexpr uint64_t kResidualHashInterval = 64;
constexpr uint64_t kWarmUpSequence = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kWarmUpStep = std::numeric_limits<uint64_t>::max() - 1;

// A clock that nobody sets.
absl::Time Now() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

std::chrono::steady_clock::time_point ToSteady(absl::Time time) {
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          absl::ToChronoNanoseconds(time - absl::UnixEpoch())));
}

absl::Status Stopped() { return absl::CancelledError("the group is told to stop"); }

absl::Status OfRank(int rank, absl::Status status) {
  rpc::SetErrorSite(status, {.rank = static_cast<uint32_t>(rank)});
  return status;
}

// Where `what` was due.
absl::Status Unexpected(const GroupEvent& event, const std::string& what) {
  return OfRank(event.rank,
                absl::InternalError(absl::StrCat("rank ", event.rank, " sent reply ",
                                                 static_cast<int>(event.reply.reply_case()),
                                                 " where ", what, " was due")));
}

absl::Status Prefix(const std::string& where, const absl::Status& status) {
  // CANCELLED means that this executor was told to stop, and nothing else.
  absl::StatusCode code =
      absl::IsCancelled(status) ? absl::StatusCode::kUnavailable : status.code();
  return absl::Status(code, absl::StrCat(where, ": ", status.message()));
}

}  // namespace

GroupLife::GroupLife(const Environment& environment, uint64_t epoch)
    : options_(*environment.options),
      weights_(*environment.weights),
      epoch_(epoch),
      board_(environment.board),
      shared_plan_(environment.shared_plan),
      num_ranks_(options_.layout.tp * options_.layout.pp),
      merger_(num_ranks_, options_.layout.tp),
      rank_times_(num_ranks_) {}

GroupLife::~GroupLife() {
  for (auto& link : links_) link->Cancel();
}

absl::Status GroupLife::BringUp(std::optional<GroupPlan>& plan) {
  ASSIGN_OR_RETURN(group_, LaunchGroup(options_, weights_, &mailbox_));
  using Reach = RankLink::Options::Reach;
  const bool again = plan.has_value() && !group_.local;
  const Reach reach = group_.local ? Reach::kStarts : again ? Reach::kCutOff : Reach::kOnce;
  for (int rank = 0; rank < num_ranks_; ++rank) {
    links_.push_back(std::make_unique<RankLink>(
        RankLink::Options{.rank = rank, .address = group_.addresses[rank], .reach = reach},
        &mailbox_));
  }
  board_->Update([this](GroupStatus& status) {
    for (int rank = 0; rank < num_ranks_; ++rank) {
      status.ranks[rank] = {.rank = rank,
                            .stage = rank / options_.layout.tp,
                            .tp_index = rank % options_.layout.tp,
                            .address = group_.addresses[rank]};
      if (group_.local && !group_.mpirun && !group_.simulated) {
        status.ranks[rank].pid = group_.children[rank]->pid();
      }
    }
  });
  RETURN_IF_ERROR(Authenticate(again ? std::min(kReachTime, options_.connect_timeout)
                                     : options_.connect_timeout));
  // Connected: nothing on disk is needed any more, or left behind however this process ends.
  // mpirun keeps its files there; they go with it.
  if (!group_.mpirun) group_.folder.reset();
  RETURN_IF_ERROR(Load(plan));
  RETURN_IF_ERROR(Connect(*plan));
  return WarmUp();
}

absl::Status GroupLife::Authenticate(absl::Duration reach) {
  for (int rank = 0; rank < num_ranks_; ++rank) {
    ASSIGN_OR_RETURN(std::string nonce, rpc::RandomBytes(rpc::kSessionNonceBytes));
    nonces_.push_back(nonce);
    Command command;
    command.mutable_hello()->set_protocol_version(rpc::kSessionProtocolVersion);
    command.mutable_hello()->set_version(std::string(rpc::Version()));
    command.mutable_hello()->set_epoch(epoch_);
    command.mutable_hello()->set_nonce(nonce);
    Send(rank, std::move(command));
  }
  const absl::Time reached = Now() + reach;
  const absl::Time deadline = Now() + options_.connect_timeout;
  std::vector<bool> here(num_ranks_, false);
  std::vector<bool> welcome(num_ranks_, false);
  for (int welcomed = 0; welcomed < num_ranks_;) {
    const bool all_here = std::find(here.begin(), here.end(), false) == here.end();
    ASSIGN_OR_RETURN(std::optional<GroupEvent> event, NextBy(all_here ? deadline : reached));
    if (!event && !all_here) return Late(here, reach);
    if (!event) return Late(welcome, options_.connect_timeout);
    if (event->reply.has_welcome()) {
      welcome[event->rank] = true;
      ++welcomed;
    } else if (event->reply.has_challenge()) {
      here[event->rank] = true;
      absl::Status status = AnswerChallenge(event->rank, event->reply.challenge());
      if (!status.ok()) return OfRank(event->rank, Prefix(NameOf(event->rank), status));
    } else {
      return OfRank(event->rank, absl::InternalError(absl::StrCat(NameOf(event->rank),
                                                                  " broke off the handshake")));
    }
  }
  return absl::OkStatus();
}

absl::Status GroupLife::AnswerChallenge(int rank, const v1::Challenge& challenge) {
  if (challenge.version() != rpc::Version()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the worker at ", links_[rank]->address(), " is tessera ", challenge.version(),
                     ", the server is tessera ", std::string(rpc::Version()),
                     "; install the same version on both"));
  }
  rpc::SessionTerms terms{
      .epoch = epoch_, .server_nonce = nonces_[rank], .worker_nonce = challenge.nonce()};
  RETURN_IF_ERROR(
      rpc::CheckSessionProof(group_.secret, rpc::SessionRole::kWorker, terms, challenge.proof()));
  Command command;
  ASSIGN_OR_RETURN(*command.mutable_proof()->mutable_proof(),
                   rpc::SessionProof(group_.secret, rpc::SessionRole::kServer, terms));
  Send(rank, std::move(command));
  return absl::OkStatus();
}

absl::Status GroupLife::Load(std::optional<GroupPlan>& plan) {
  Watch(options_.load_timeout);
  Command describe;
  describe.mutable_describe();
  SendToAll(std::move(describe));
  ASSIGN_OR_RETURN(std::vector<Reply> described,
                   Gather(Reply::kDescription, options_.connect_timeout));
  std::vector<v1::Description> descriptions;
  for (const Reply& reply : described) descriptions.push_back(reply.description());
  if (!plan) {
    ASSIGN_OR_RETURN(plan, AwaitPlan(descriptions));
  }
  ASSIGN_OR_RETURN(std::vector<v1::Load> loads, LoadCommands(options_, *plan, descriptions));
  board_->Update([&](GroupStatus& status) {
    if (status.state == GroupState::kStarting) status.state = GroupState::kLoading;
    status.comm = plan->comm;
    status.device = plan->device;
    for (int rank = 0; rank < num_ranks_; ++rank) {
      status.ranks[rank].pid = descriptions[rank].pid();
      status.ranks[rank].host = descriptions[rank].host();
      status.ranks[rank].kernels = loads[rank].kernels();
    }
  });
  Watch(options_.load_timeout);
  for (int rank = 0; rank < num_ranks_; ++rank) {
    Command command;
    *command.mutable_load() = loads[rank];
    Send(rank, std::move(command));
  }
  ASSIGN_OR_RETURN(std::vector<Reply> loaded, Gather(Reply::kLoaded, absl::InfiniteDuration()));
  board_->Update([&](GroupStatus& status) {
    for (int rank = 0; rank < num_ranks_; ++rank) {
      status.ranks[rank].weight_bytes = loaded[rank].loaded().weight_bytes();
      status.ranks[rank].weight_bytes_read = loaded[rank].loaded().bytes_read();
      status.ranks[rank].kv_bytes = loaded[rank].loaded().kv_bytes();
      status.ranks[rank].load_fraction = 1;
    }
  });
  plan->facts.kv_fetch_seconds = 0;
  for (const Reply& reply : loaded) {
    plan->facts.kv_fetch_seconds =
        std::max(plan->facts.kv_fetch_seconds, reply.loaded().kv_fetch_ns() * 1e-9);
  }
  return absl::OkStatus();
}

absl::StatusOr<GroupPlan> GroupLife::AwaitPlan(const std::vector<v1::Description>& descriptions) {
  // The other groups have all the time that they need; these ranks have nothing to do meanwhile.
  Watch(absl::InfiniteDuration());
  SharedPlan::Seat seat(shared_plan_, &options_, descriptions);
  while (true) {
    ASSIGN_OR_RETURN(std::optional<GroupPlan> plan, seat.Poll());
    if (plan) return *std::move(plan);
    std::optional<GroupEvent> event = mailbox_.Take(ToSteady(Now() + kPlanTick));
    RETURN_IF_ERROR(CheckWatch());
    if (!event) continue;
    ASSIGN_OR_RETURN(bool handled, Handle(*event));
    if (!handled) return Unexpected(*event, "none");
  }
}

absl::Status GroupLife::Connect(const GroupPlan& plan) {
  absl::Duration timeout = options_.step_timeout * kCollectiveTimeouts;
  Watch(timeout + options_.step_timeout);
  Command command;
  command.mutable_connect()->set_comm(plan.comm);
  command.mutable_connect()->set_timeout_ms(
      static_cast<uint32_t>(absl::ToInt64Milliseconds(timeout)));
  // Collectives carry no proof of who speaks: those of local ranks stay on this host.
  bool loopback = group_.local && options_.collective_interface.empty();
  command.mutable_connect()->set_interface(loopback ? "lo" : options_.collective_interface);
  SendToAll(std::move(command));
  return Gather(Reply::kConnected, absl::InfiniteDuration()).status();
}

absl::Status GroupLife::WarmUp() {
  Watch(options_.step_timeout);
  Step forward{.step = kWarmUpStep};
  SequenceStart& start = forward.starts.emplace_back();
  start.sequence = kWarmUpSequence;
  start.token_ids = {0};
  start.prompt_length = 1;
  start.sampling.temperature = 0;
  start.max_tokens = 1;
  forward.entries.push_back({.sequence = kWarmUpSequence, .num_tokens = 1, .new_blocks = {0}});
  Submit(forward);
  Submit(Step{.step = kWarmUpStep + 1, .ends = {kWarmUpSequence}});
  bool drawn = false;
  while (merger_.merged() < submitted_) {
    ASSIGN_OR_RETURN(GroupEvent event, Next());
    ASSIGN_OR_RETURN(std::optional<StepResult> result, TakeStep(event));
    if (!result || result->results.empty()) continue;
    const SequenceResult& answer = result->results.front();
    if (answer.finish == Finish::kFailed) {
      return absl::InternalError(absl::StrCat("the first forward pass failed: ", answer.error));
    }
    drawn |= !answer.tokens.empty();
  }
  if (drawn) return absl::OkStatus();
  return absl::InternalError("the first forward pass drew no token on any rank");
}

absl::Status GroupLife::Serve(const std::function<void(StepResult)>& on_step) {
  Watch(options_.step_timeout);
  while (true) {
    ASSIGN_OR_RETURN(GroupEvent event, Next());
    ASSIGN_OR_RETURN(std::optional<StepResult> result, TakeStep(event));
    if (result) on_step(*std::move(result));
  }
}

void GroupLife::Leave() {
  Command leave;
  leave.mutable_leave();
  SendToAll(std::move(leave));
  absl::Time deadline = Now() + kLeaveTime;
  int left = 0;
  while (left < static_cast<int>(links_.size())) {
    std::optional<GroupEvent> event = mailbox_.Take(ToSteady(deadline));
    if (!event) return;
    left += event->kind == GroupEvent::Kind::kStreamEnded;
  }
}

void GroupLife::Submit(const Step& step) {
  Command command;
  ToProto(step, command.mutable_step());
  command.mutable_step()->set_hash_residual(submitted_++ % kResidualHashInterval == 0);
  SendToAll(std::move(command));
}

void GroupLife::Stop() { mailbox_.Put({.kind = GroupEvent::Kind::kStop}); }

absl::StatusOr<std::optional<GroupEvent>> GroupLife::NextBy(absl::Time deadline) {
  while (true) {
    absl::Time now = Now();
    std::optional<GroupEvent> event = mailbox_.Take(ToSteady(std::min(deadline, now + kTick)));
    RETURN_IF_ERROR(CheckWatch());
    if (!event) {
      if (Now() < deadline) continue;
      return std::nullopt;
    }
    ASSIGN_OR_RETURN(bool handled, Handle(*event));
    if (!handled) return event;
  }
}

absl::StatusOr<GroupEvent> GroupLife::Next() {
  std::optional<GroupEvent> event;
  while (!event) {
    ASSIGN_OR_RETURN(event, NextBy(absl::InfiniteFuture()));
  }
  return *std::move(event);
}

absl::Status GroupLife::Late(const std::vector<bool>& here, absl::Duration time) const {
  const int rank = static_cast<int>(std::find(here.begin(), here.end(), false) - here.begin());
  return OfRank(rank, absl::UnavailableError(absl::StrCat(NameOf(rank), " did not answer within ",
                                                          absl::FormatDuration(time))));
}

std::string GroupLife::NameOf(int rank) const {
  std::string name = absl::StrCat("rank ", rank);
  if (!group_.local) absl::StrAppend(&name, " (", links_[rank]->address(), ")");
  return name;
}

absl::StatusOr<bool> GroupLife::Handle(const GroupEvent& event) {
  if (event.kind == GroupEvent::Kind::kStop) return Stopped();
  if (event.kind != GroupEvent::Kind::kReply) return FindCause(MakeFailure(event));
  absl::Time now = Now();
  if (watch_) watch_->Heard(event.rank, now);
  switch (event.reply.reply_case()) {
    case Reply::kHeartbeat:
      if (watch_) watch_->Progress(event.rank, event.reply.heartbeat().progress(), now);
      return true;
    case Reply::kLoadProgress: {
      const v1::LoadProgress& progress = event.reply.load_progress();
      double done = static_cast<double>(progress.bytes_done());
      double total = std::max(1.0, static_cast<double>(progress.bytes_total()));
      board_->Update(
          [&](GroupStatus& status) { status.ranks[event.rank].load_fraction = done / total; });
      return true;
    }
    case Reply::kStoreEntry: {
      Command command;
      *command.mutable_store_entry() = event.reply.store_entry();
      for (int rank = 0; rank < num_ranks_; ++rank) {
        if (rank != event.rank) Send(rank, command);
      }
      return true;
    }
    case Reply::kError:
      return FindCause(MakeFailure(event));
    default:
      return false;
  }
}

absl::StatusOr<std::vector<GroupLife::Reply>> GroupLife::Gather(Reply::ReplyCase wanted,
                                                                absl::Duration timeout) {
  absl::Time deadline = Now() + timeout;
  std::vector<Reply> replies(num_ranks_);
  std::vector<bool> here(num_ranks_, false);
  for (int count = 0; count < num_ranks_; ++count) {
    ASSIGN_OR_RETURN(std::optional<GroupEvent> event, NextBy(deadline));
    if (!event) return Late(here, timeout);
    if (event->reply.reply_case() != wanted) {
      return Unexpected(*event, absl::StrCat(static_cast<int>(wanted)));
    }
    here[event->rank] = true;
    replies[event->rank] = std::move(event->reply);
  }
  return replies;
}

absl::StatusOr<std::optional<StepResult>> GroupLife::TakeStep(const GroupEvent& event) {
  if (!event.reply.has_step_result()) return Unexpected(event, "a step's result");
  rank_times_[event.rank].busy_ns += event.reply.step_result().busy_ns();
  rank_times_[event.rank].idle_ns += event.reply.step_result().idle_ns();
  ASSIGN_OR_RETURN(std::optional<StepResult> result,
                   merger_.Add(event.rank, event.reply.step_result()));
  if (result && watch_) watch_->Moved(Now());
  if (result) ShowTimes();  // whoever has an answer finds its steps in the figures
  return result;
}

void GroupLife::Watch(absl::Duration stall) {
  watch_.emplace(num_ranks_,
                 ProgressWatch::Limits{.silence = options_.step_timeout, .stall = stall}, Now());
}

absl::Status GroupLife::CheckWatch() {
  absl::Time now = Now();
  if (!watch_ || now < next_check_) return absl::OkStatus();
  next_check_ = now + kTick;
  return watch_->Check(now, /*idle=*/submitted_ > 0 && merger_.merged() == submitted_);
}

void GroupLife::ShowTimes() {
  board_->Update([this](GroupStatus& status) {
    for (int rank = 0; rank < num_ranks_; ++rank) {
      status.ranks[rank].busy_seconds = static_cast<double>(rank_times_[rank].busy_ns) * 1e-9;
      status.ranks[rank].idle_seconds = static_cast<double>(rank_times_[rank].idle_ns) * 1e-9;
    }
  });
}

GroupLife::Failure GroupLife::MakeFailure(const GroupEvent& event) const {
  Failure failure = Weigh(event);
  rpc::ErrorSite site;
  if (event.rank >= 0) site.rank = static_cast<uint32_t>(event.rank);
  if (event.kind == GroupEvent::Kind::kReply) {
    site.file = event.reply.error().file();
    site.line = event.reply.error().line();
  }
  if (!site.file.empty()) {
    failure.status =
        absl::Status(failure.status.code(),
                     absl::StrCat(failure.status.message(), " (", site.file, ":", site.line, ")"));
  }
  rpc::SetErrorSite(failure.status, site);
  return failure;
}

GroupLife::Failure GroupLife::Weigh(const GroupEvent& event) const {
  if (event.kind == GroupEvent::Kind::kProcessLost) {
    const std::string all = group_.simulated ? "the process of the simulated ranks" : "mpirun";
    return {.weight = 3, .status = Prefix(event.rank < 0 ? all : NameOf(event.rank), event.status)};
  }
  const std::string where = NameOf(event.rank);
  if (event.kind == GroupEvent::Kind::kStreamEnded) {
    absl::Status status = event.status;
    if (status.ok()) status = absl::UnavailableError("ended the session");
    bool connection = absl::IsUnavailable(status) || absl::IsCancelled(status);
    return {.weight = connection ? 1 : 2, .status = Prefix(where, status)};
  }
  absl::Status status(static_cast<absl::StatusCode>(event.reply.error().code()),
                      event.reply.error().message());
  if (status.ok()) status = absl::InternalError("sent an error without a code");
  // What a rank says of its peers is an effect of what happened to them.
  bool peers =
      absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsCancelled(status);
  return {.weight = peers ? 0 : 2, .status = Prefix(where, status)};
}

absl::Status GroupLife::FindCause(Failure failure) {
  absl::Time deadline = Now() + kCauseTime;
  while (failure.weight < 2) {
    std::optional<GroupEvent> event = mailbox_.Take(ToSteady(deadline));
    if (!event) break;
    if (event->kind == GroupEvent::Kind::kStop) return Stopped();
    if (event->kind == GroupEvent::Kind::kReply && !event->reply.has_error()) continue;
    if (Failure other = MakeFailure(*event); other.weight > failure.weight) failure = other;
  }
  return failure.status;
}

void GroupLife::Send(int rank, Command command) {
  links_[rank]->Send(std::make_shared<const Command>(std::move(command)));
}

void GroupLife::SendToAll(Command command) {
  auto shared = std::make_shared<const Command>(std::move(command));
  for (auto& link : links_) link->Send(shared);
}

}  // namespace tessera::server
