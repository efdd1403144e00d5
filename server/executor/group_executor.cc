#include "server/executor/group_executor.h"

#include <unistd.h>

#include <chrono>
#include <string>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/executor/worker_addresses.h"
#include "shard_loader/load/checkpoint.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// Local workers that never get ready are not tried more often: someone waits at a terminal.
constexpr int kMaxFailedStarts = 3;

std::string NameOf(const GroupOptions& options) {
  return options.num_replicas == 1 ? "group"
                                   : absl::StrCat("the group of replica ", options.replica);
}

// An error that another try would meet again.
bool IsPermanent(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnauthenticated:
      return true;
    default:
      return false;
  }
}

// Local workers live no longer than this process. Remote ones may still serve an epoch of a server
// that was here before: theirs is a time, so that it is always lower.
uint64_t FirstEpoch(const GroupOptions& options) {
  return options.workers.empty() ? 1 : static_cast<uint64_t>(absl::ToUnixMillis(absl::Now()));
}

GroupStatus FirstStatus(const GroupOptions& options) {
  GroupStatus status;
  status.tp = options.layout.tp;
  status.pp = options.layout.pp;
  status.comm = ResolveComm(options);
  status.ranks.resize(static_cast<size_t>(options.layout.tp) * options.layout.pp);
  for (size_t rank = 0; rank < status.ranks.size(); ++rank) {
    status.ranks[rank].rank = static_cast<int>(rank);
    status.ranks[rank].stage = static_cast<int>(rank) / options.layout.tp;
    status.ranks[rank].tp_index = static_cast<int>(rank) % options.layout.tp;
  }
  return status;
}

absl::Status CheckSimulation(const GroupOptions& options) {
  const char* flag = !options.workers.empty()    ? "--workers"
                     : options.comm != "auto"    ? "--comm"
                     : options.threads != 0      ? "--threads"
                     : options.kernels != "auto" ? "--kernels"
                                                 : nullptr;
  if (flag == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      flag, " does not go with --device sim: its ranks are played by one process of this host"));
}

absl::Status CheckOptions(const GroupOptions& options) {
  RETURN_IF_ERROR(shard_loader::MakeRankPlans(options.checkpoint->spec(), options.layout).status());
  const std::string& comm = options.comm;
  if (comm != "auto" && comm != "shm" && comm != "gloo" && comm != "mpi" && comm != "nccl") {
    return absl::UnimplementedError(
        absl::StrCat("--comm ", comm, " is not supported; give auto, shm, gloo, mpi or nccl"));
  }
  if (options.device == "sim") RETURN_IF_ERROR(CheckSimulation(options));
  if (!options.workers.empty()) {
    if (comm == "shm") {
      return absl::InvalidArgumentError(
          "--comm shm is for workers that the server starts itself; give auto or gloo with "
          "--workers");
    }
    absl::Status status =
        ResolveWorkers(options.workers, options.layout.tp * options.layout.pp).status();
    // A name that has no addresses yet may get them.
    return absl::IsUnavailable(status) ? absl::OkStatus() : status;
  }
  if (access(options.worker_program.c_str(), X_OK) == 0) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("the worker's program ", options.worker_program,
                                          " is not there or may not be run"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Executor>> GroupExecutor::Create(GroupOptions options) {
  ASSIGN_OR_RETURN(auto executors, CreateAll(options, 1));
  return std::move(executors[0]);
}

absl::StatusOr<std::vector<std::unique_ptr<Executor>>> GroupExecutor::CreateAll(
    const GroupOptions& options, int replicas) {
  const int ranks = options.layout.tp * options.layout.pp;
  ASSIGN_OR_RETURN(auto workers, WorkersOfGroups(options.workers, replicas, ranks));
  auto shared_plan = std::make_shared<SharedPlan>();
  std::vector<std::unique_ptr<Executor>> executors;
  for (int replica = 0; replica < replicas; ++replica) {
    GroupOptions own = options;
    own.replica = replica;
    own.num_replicas = replicas;
    own.workers = workers[replica];
    RETURN_IF_ERROR(CheckOptions(own));
    executors.emplace_back(new GroupExecutor(std::move(own), shared_plan));
  }
  return executors;
}

GroupExecutor::GroupExecutor(GroupOptions options, std::shared_ptr<SharedPlan> shared_plan)
    : options_(std::move(options)),
      shared_plan_(std::move(shared_plan)),
      board_(FirstStatus(options_)) {}

GroupExecutor::~GroupExecutor() { Stop(); }

void GroupExecutor::Start(ExecutorEvents* events) {
  thread_ = std::thread([this, events] { Supervise(events); });
}

void GroupExecutor::Submit(uint64_t epoch, const Step& step) {
  MutexLock lock(mutex_);
  if (life_ != nullptr && ready_epoch_ == epoch) life_->Submit(step);
}

void GroupExecutor::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    if (life_ != nullptr) life_->Stop();
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void GroupExecutor::Supervise(ExecutorEvents* events) {
  for (uint64_t epoch = FirstEpoch(options_);; ++epoch) {
    Ended ended = LiveOnce(epoch, events);
    if (absl::IsCancelled(ended.why)) break;
    spdlog::warn("{} lost in epoch {}{}: {}", NameOf(options_), epoch,
                 ended.was_ready ? "" : " while it was made", std::string(ended.why.message()));
    if (GiveUp(ended.why, events)) return;
    if (!ended.was_ready) events->OnSetback(epoch, ended.why);
    absl::Duration delay = backoff_.Next(ended.bring_up, ended.served, ended.drew);
    if (delay > absl::ZeroDuration()) {
      spdlog::info("{} keeps dying; it starts again in {}", NameOf(options_),
                   absl::FormatDuration(delay));
    }
    if (!WaitBeforeRestart(delay)) break;
  }
  board_.Update([](GroupStatus& status) { status.state = GroupState::kStopped; });
}

GroupExecutor::Ended GroupExecutor::LiveOnce(uint64_t epoch, ExecutorEvents* events) {
  board_.Update([epoch](GroupStatus& status) { status.epoch = epoch; });
  if (!worked_) plan_.reset();
  Ended ended;
  {
    GroupLife life({.options = &options_,
                    .weights = &weights_,
                    .board = &board_,
                    .shared_plan = shared_plan_.get()},
                   epoch);
    SetLife(&life, 0);
    const absl::Time begin = absl::Now();
    ended.why = FreshWeightMemory();
    if (ended.why.ok()) ended.why = life.BringUp(plan_);
    ended.was_ready = ended.why.ok();
    ended.bring_up = absl::Now() - begin;
    if (ended.was_ready) {
      worked_ = true;
      board_.Update([](GroupStatus& status) { status.state = GroupState::kReady; });
      SetLife(&life, epoch);
      events->OnReady(epoch, plan_->facts);
      absl::Time ready = absl::Now();
      ended.why = life.Serve([&](StepResult result) {
        for (const SequenceResult& each : result.results) ended.drew |= !each.tokens.empty();
        events->OnStep(epoch, std::move(result));
      });
      ended.served = absl::Now() - ready;
    }
    SetLife(nullptr, 0);
    if (absl::IsCancelled(ended.why)) {
      life.Leave();
      return ended;
    }
    board_.Update([&](GroupStatus& status) {
      status.state = worked_ ? GroupState::kRecovering : GroupState::kStarting;
      status.restarts += ended.was_ready;
      status.last_loss = std::string(ended.why.message());
    });
    if (ended.was_ready) events->OnLost(epoch, ended.why);
  }
  return ended;
}

absl::Status GroupExecutor::FreshWeightMemory() {
  // A group that has worked is made again with the same plan, and finds its weights.
  if (worked_ || !options_.workers.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(weights_, MakeWeightMemory(options_.layout.tp * options_.layout.pp));
  return absl::OkStatus();
}

bool GroupExecutor::GiveUp(const absl::Status& why, ExecutorEvents* events) {
  if (worked_) return false;
  ++failed_starts_;
  bool local = options_.workers.empty();
  if (!IsPermanent(why) && !(local && failed_starts_ >= kMaxFailedStarts)) return false;
  board_.Update([](GroupStatus& status) { status.state = GroupState::kFailed; });
  events->OnFailed(why);
  return true;
}

bool GroupExecutor::WaitBeforeRestart(absl::Duration delay) {
  auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(delay);
  board_.Update([delay](GroupStatus& status) { status.restart_delay = delay; });
  bool stopped;
  {
    MutexLock lock(mutex_);
    while (!stop_ && std::chrono::steady_clock::now() < deadline) {
      changed_.WaitUntil(mutex_, deadline);
    }
    stopped = stop_;
  }
  board_.Update([](GroupStatus& status) { status.restart_delay = absl::ZeroDuration(); });
  return !stopped;
}

void GroupExecutor::SetLife(GroupLife* life, uint64_t ready_epoch) {
  MutexLock lock(mutex_);
  life_ = life;
  ready_epoch_ = ready_epoch;
  // Stop may have come while there was no life to tell.
  if (life_ != nullptr && stop_) life_->Stop();
}

}  // namespace tessera::server
