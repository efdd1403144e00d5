#include "worker/app/worker_service.h"

#include <chrono>
#include <string>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "proto/rpc/status.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

// Each holds a thread until it has proved the secret or its time is over.
constexpr int kMaxUnproven = 16;

absl::Status ShuttingDown() { return absl::UnavailableError("the worker is shutting down"); }

}  // namespace

grpc::Status WorkerService::Session(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<internal::v1::Reply, internal::v1::Command>* stream) {
  WorkerSession session(options_.session, context, stream);
  absl::Status status = Run(session);
  if (absl::IsUnavailable(status)) {
    spdlog::info("{}: {}", context->peer(), std::string(status.message()));
  } else if (!status.ok()) {
    spdlog::warn("refused a session from {}: {}", context->peer(), std::string(status.message()));
  }
  return rpc::ToGrpc(status);
}

absl::Status WorkerService::Run(WorkerSession& session) {
  absl::Status proven = absl::ResourceExhaustedError(
      absl::StrCat("session: ", kMaxUnproven, " other peers are proving their secret just now"));
  if (unproven_.fetch_add(1) < kMaxUnproven) proven = session.Authenticate();
  unproven_.fetch_sub(1);
  RETURN_IF_ERROR(proven);
  RETURN_IF_ERROR(Admit(session));
  spdlog::info("session of epoch {} begins", session.epoch());
  options_.on_admitted();
  session.Serve(options_.make_rank());
  spdlog::info("session of epoch {} has ended", session.epoch());
  Release();
  options_.on_ended();
  return absl::OkStatus();
}

absl::Status WorkerService::Admit(WorkerSession& session) {
  auto deadline =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(options_.replace_timeout);
  MutexLock lock(mutex_);
  while (true) {
    if (shut_down_) return ShuttingDown();
    if (running_ == nullptr) break;
    if (running_->epoch() >= session.epoch()) {
      return absl::AlreadyExistsError(
          absl::StrCat("session: this worker serves epoch ", running_->epoch(), " and epoch ",
                       session.epoch(), " is not higher; is it given to two servers?"));
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return absl::UnavailableError(absl::StrCat("session: the one of epoch ", running_->epoch(),
                                                 " is told to end, but is still busy"));
    }
    running_->Cancel();
    released_.WaitUntil(mutex_, deadline);
  }
  running_ = &session;
  return absl::OkStatus();
}

void WorkerService::Release() {
  MutexLock lock(mutex_);
  running_ = nullptr;
  released_.NotifyAll();
}

void WorkerService::Shutdown() {
  MutexLock lock(mutex_);
  shut_down_ = true;
  if (running_ != nullptr) running_->Cancel();
  released_.NotifyAll();
}

}  // namespace tessera::worker
