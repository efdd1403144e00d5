#include "worker/app/session.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/rpc/session_auth.h"
#include "shard_loader/status_macros.h"
#include "worker/app/timer.h"
#include "worker/runner/error_site.h"

namespace tessera::worker {
namespace {

namespace v1 = internal::v1;

// A rank without a new step waits so long for one before it waits for the ids of those it has run:
// while it does that it takes no step.
constexpr absl::Duration kSettleAfter = absl::Milliseconds(1);

absl::Status PeerGone() {
  return absl::UnavailableError("session: the server went away during the handshake");
}

}  // namespace

absl::Status WorkerSession::Authenticate() {
  std::atomic<bool> late = false;
  absl::Status status;
  {
    Timer timer(options_.handshake_timeout, Timer::Mode::kOnce, [this, &late] {
      late = true;
      context_->TryCancel();
    });
    status = Handshake();
  }
  if (!late) return status;
  return absl::DeadlineExceededError(
      absl::StrCat("session: the server did not prove its secret within ",
                   absl::FormatDuration(options_.handshake_timeout)));
}

absl::Status WorkerSession::Handshake() {
  Command command;
  if (!stream_->Read(&command)) return PeerGone();
  if (!command.has_hello())
    return absl::InvalidArgumentError("session: the first command must be Hello");
  const v1::Hello hello = command.hello();
  if (hello.protocol_version() != rpc::kSessionProtocolVersion ||
      hello.version() != options_.version) {
    return absl::FailedPreconditionError(absl::StrCat(
        "session: the server is tessera ", hello.version(), " (protocol ", hello.protocol_version(),
        "), the worker is tessera ", options_.version, " (protocol ", rpc::kSessionProtocolVersion,
        "); install the same version on both"));
  }
  epoch_ = hello.epoch();
  rpc::SessionTerms terms{.epoch = epoch_, .server_nonce = hello.nonce()};
  ASSIGN_OR_RETURN(terms.worker_nonce, rpc::RandomBytes(rpc::kSessionNonceBytes));
  ASSIGN_OR_RETURN(std::string proof,
                   rpc::SessionProof(options_.secret, rpc::SessionRole::kWorker, terms));
  Reply reply;
  reply.mutable_challenge()->set_nonce(terms.worker_nonce);
  reply.mutable_challenge()->set_proof(proof);
  reply.mutable_challenge()->set_version(options_.version);
  if (!Write(reply) || !stream_->Read(&command)) return PeerGone();
  if (command.has_leave()) return PeerGone();
  if (!command.has_proof()) return absl::InvalidArgumentError("session: Proof must follow Hello");
  return rpc::CheckSessionProof(options_.secret, rpc::SessionRole::kServer, terms,
                                command.proof().proof());
}

void WorkerSession::Serve(std::unique_ptr<Rank> rank) {
  rank_ = std::move(rank);
  store_ = std::make_unique<SessionStore>([this](const std::string& key, const std::string& value) {
    Reply reply;
    reply.mutable_store_entry()->set_key(key);
    reply.mutable_store_entry()->set_value(value);
    return Write(reply);
  });
  Reply welcome;
  welcome.mutable_welcome();
  if (!Write(welcome)) return;
  Timer heartbeat(options_.heartbeat_interval, Timer::Mode::kRepeat, [this] { Heartbeat(); });
  std::thread work([this] { Work(); });
  Read();
  CloseQueue();
  work.join();
}

void WorkerSession::Read() {
  Command command;
  absl::Status why = absl::CancelledError("the server has ended the session");
  while (stream_->Read(&command)) {
    if (command.has_store_entry()) {
      absl::Status put = store_->Put(command.store_entry().key(), command.store_entry().value());
      if (!put.ok()) why = put;
      if (!put.ok()) break;
      continue;
    }
    bool leave = command.has_leave();
    if (leave) why = absl::CancelledError("the server told this rank to leave");
    Push(std::move(command));
    if (leave) break;
    command = Command();
  }
  store_->Close(why);
  rank_->Abort(why);
}

void WorkerSession::Work() {
  bool failed = false;
  while (true) {
    const bool open = !failed && rank_->Open();
    std::optional<Command> command = Pop(open ? kSettleAfter : absl::InfiniteDuration());
    if (!command && (!open || closed())) return;
    if (command && command->has_leave()) {
      Reply left;
      left.mutable_left();
      Write(left);
      return;
    }
    if (failed) continue;
    busy_ = true;
    absl::Status status = command ? Execute(*command) : Answer(rank_->Settle());
    busy_ = false;
    if (status.ok()) continue;
    failed = true;
    if (!absl::IsCancelled(status)) spdlog::error("{}", std::string(status.message()));
    Reply reply;
    reply.mutable_error()->set_code(static_cast<uint32_t>(status.code()));
    reply.mutable_error()->set_message(std::string(status.message()));
    const ErrorSite site = SiteOf(status);
    reply.mutable_error()->set_file(site.file);
    reply.mutable_error()->set_line(site.line);
    Write(reply);
  }
}

absl::Status WorkerSession::Execute(const Command& command) {
  Reply reply;
  switch (command.command_case()) {
    case Command::kDescribe:
      *reply.mutable_description() = rank_->Describe();
      break;
    case Command::kLoad:
      return Load(command.load());
    case Command::kConnect:
      RETURN_IF_ERROR(rank_->Connect(command.connect(), store_.get()));
      reply.mutable_connected();
      break;
    case Command::kStep:
      return RunStep(command.step());
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("session: command ", static_cast<int>(command.command_case()),
                       " is not known here; is the server of another version?"));
  }
  if (!Write(reply)) return absl::CancelledError("session: the server is gone");
  return absl::OkStatus();
}

absl::Status WorkerSession::RunStep(const v1::Step& step) {
  const absl::Time begin = absl::Now();
  absl::StatusOr<std::vector<v1::StepResult>> results = rank_->Run(step);
  step_time_ += absl::Now() - begin;
  if (results.ok() && !results->empty()) TimeStep(&results->back());
  return Answer(results);
}

absl::Status WorkerSession::Answer(const absl::StatusOr<std::vector<v1::StepResult>>& results) {
  RETURN_IF_ERROR(results.status());
  for (const v1::StepResult& result : *results) {
    Reply reply;
    *reply.mutable_step_result() = result;
    if (!Write(reply)) return absl::CancelledError("session: the server is gone");
  }
  return absl::OkStatus();
}

void WorkerSession::TimeStep(v1::StepResult* result) {
  const absl::Time end = absl::Now();
  if (result->busy_ns() == 0) {
    result->set_busy_ns(std::max<int64_t>(0, absl::ToInt64Nanoseconds(step_time_)));
  }
  step_time_ = absl::ZeroDuration();
  if (last_step_end_) {
    const int64_t all = absl::ToInt64Nanoseconds(end - *last_step_end_);
    result->set_idle_ns(std::max<int64_t>(0, all - static_cast<int64_t>(result->busy_ns())));
  }
  last_step_end_ = end;
}

absl::Status WorkerSession::Load(const v1::Load& load) {
  // A message for about every hundredth part: progress is for people.
  uint64_t told = 0;
  auto progress = [this, &told](uint64_t done, uint64_t total) {
    bytes_loaded_ = done;
    if (done < total && done - told < total / 100 + 1) return;
    told = done;
    Reply reply;
    reply.mutable_load_progress()->set_bytes_done(done);
    reply.mutable_load_progress()->set_bytes_total(total);
    Write(reply);
  };
  Reply reply;
  ASSIGN_OR_RETURN(*reply.mutable_loaded(), rank_->Load(load, progress));
  if (!Write(reply)) return absl::CancelledError("session: the server is gone");
  return absl::OkStatus();
}

void WorkerSession::Push(Command command) {
  MutexLock lock(mutex_);
  commands_.push_back(std::move(command));
  changed_.NotifyOne();
}

std::optional<WorkerSession::Command> WorkerSession::Pop(absl::Duration limit) {
  MutexLock lock(mutex_);
  if (limit == absl::InfiniteDuration()) {
    while (commands_.empty() && !closed_) changed_.Wait(mutex_);
  } else {
    const auto deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(limit);
    while (commands_.empty() && !closed_ && std::chrono::steady_clock::now() < deadline) {
      changed_.WaitUntil(mutex_, deadline);
    }
  }
  if (commands_.empty()) return std::nullopt;
  Command command = std::move(commands_.front());
  commands_.pop_front();
  return command;
}

bool WorkerSession::closed() {
  MutexLock lock(mutex_);
  return closed_;
}

void WorkerSession::CloseQueue() {
  MutexLock lock(mutex_);
  closed_ = true;
  changed_.NotifyAll();
}

void WorkerSession::Heartbeat() {
  Reply reply;
  reply.mutable_heartbeat()->set_progress(bytes_loaded_ + rank_->Progress());
  reply.mutable_heartbeat()->set_busy(busy_);
  Write(reply);
}

bool WorkerSession::Write(const Reply& reply) {
  MutexLock lock(write_mutex_);
  return stream_->Write(reply);
}

}  // namespace tessera::worker
