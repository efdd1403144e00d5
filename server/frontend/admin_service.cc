#include "server/frontend/admin_service.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/alarm.h>

#include "absl/strings/str_cat.h"
#include "proto/rpc/status.h"
#include "proto/rpc/version.h"
#include "server/frontend/convert.h"
#include "server/frontend/unknown_fields.h"
#include "shard_loader/mutex.h"

namespace tessera::server {
namespace {

constexpr uint32_t kDefaultIntervalMs = 1000;
constexpr uint32_t kShortestIntervalMs = 100;

// Writes a status, waits, and writes the next, until the client leaves.
class StatusWatcher : public grpc::ServerWriteReactor<v1::ServerStatus> {
 public:
  StatusWatcher(const AdminService& service, std::chrono::milliseconds interval)
      : service_(service), interval_(interval) {
    WriteStatus();
  }

 private:
  void WriteStatus() {
    status_ = service_.Status();
    StartWrite(&status_);
  }

  // Exactly one of a write and the alarm is under way until End.
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    MutexLock lock(mutex_);
    alarm_.Set(std::chrono::system_clock::now() + interval_, [this](bool) { OnAlarm(); });
    if (cancelled_) alarm_.Cancel();
  }

  void OnAlarm() {
    bool cancelled;
    {
      MutexLock lock(mutex_);
      cancelled = cancelled_;
    }
    if (cancelled) return Finish(grpc::Status::CANCELLED);
    WriteStatus();
  }

  void OnCancel() override {
    MutexLock lock(mutex_);
    cancelled_ = true;
    alarm_.Cancel();
  }

  void OnDone() override { delete this; }  // gRPC lets go of it here

  const AdminService& service_;
  const std::chrono::milliseconds interval_;
  v1::ServerStatus status_;
  grpc::Alarm alarm_;
  Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

class RefusedWatcher : public grpc::ServerWriteReactor<v1::ServerStatus> {
 public:
  explicit RefusedWatcher(const absl::Status& status) { Finish(rpc::ToGrpc(status)); }

 private:
  void OnDone() override { delete this; }  // gRPC lets go of it here
};

std::string Message(const EngineCondition& condition, const std::vector<GroupStatus>& groups) {
  absl::Duration pause = absl::ZeroDuration();
  for (const GroupStatus& group : groups) pause = std::max(pause, group.restart_delay);
  switch (condition.state) {
    case EngineState::kStarting:
      return groups.size() == 1 ? "the group of workers is being made"
                                : "the groups of workers are being made";
    case EngineState::kReady:
      return condition.why.empty() ? "ready" : absl::StrCat("ready, but for ", condition.why);
    case EngineState::kRecovering:
      if (pause > absl::ZeroDuration()) {
        return absl::StrCat("the group keeps dying and is started again only after a pause of ",
                            absl::FormatDuration(pause), ": ", condition.why);
      }
      return absl::StrCat("the group is being started again: ", condition.why);
    case EngineState::kDraining:
      return "draining: running requests end, new ones are refused";
    case EngineState::kFailed:
      break;
  }
  return condition.why;
}

}  // namespace

AdminService::AdminService(Environment environment) : environment_(std::move(environment)) {}

v1::ServerStatus AdminService::Status() const {
  const Engine& engine = *environment_.engine;
  const EngineCondition condition = engine.condition();
  const absl::Time now = absl::Now();
  std::vector<GroupStatus> groups;
  std::vector<const Counters*> counters;
  v1::ServerStatus status;
  for (const auto& replica : engine.replicas()) {
    groups.push_back(replica->group());
    counters.push_back(&replica->counters());
    v1::GroupStatus& shown = *status.add_groups();
    shown = ToProto(groups.back());
    for (const LossRecord& loss : replica->losses()) *shown.add_losses() = ToProto(loss);
    *shown.mutable_engine() = ToProto({counters.back()}, now);
  }
  *status.mutable_engine() = ToProto(counters, now);
  status.set_state(ToProto(condition, groups));
  status.set_version(std::string(rpc::Version()));
  status.set_model(environment_.model);
  status.set_numerics_id(engine.numerics_id());
  status.set_uptime_seconds(absl::ToDoubleSeconds(now - start_));
  status.set_message(Message(condition, groups));
  return status;
}

grpc::ServerUnaryReactor* AdminService::GetStatus(grpc::CallbackServerContext* context,
                                                  const v1::GetStatusRequest* request,
                                                  v1::ServerStatus* response) {
  absl::Status status = CheckUnknownFields(*request);
  if (status.ok()) *response = Status();
  auto* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(status));
  return reactor;
}

grpc::ServerWriteReactor<v1::ServerStatus>* AdminService::WatchStatus(
    grpc::CallbackServerContext*, const v1::WatchStatusRequest* request) {
  absl::Status status = CheckUnknownFields(*request);
  uint32_t interval = request->has_interval_ms() ? request->interval_ms() : kDefaultIntervalMs;
  if (status.ok() && interval < kShortestIntervalMs) {
    status = absl::InvalidArgumentError(
        absl::StrCat("interval_ms must be at least ", kShortestIntervalMs, ", got ", interval));
    rpc::SetFieldViolation(status, "interval_ms");
  }
  if (!status.ok()) return new RefusedWatcher(status);
  return new StatusWatcher(*this, std::chrono::milliseconds(interval));
}

grpc::ServerUnaryReactor* AdminService::Drain(grpc::CallbackServerContext* context,
                                              const v1::DrainRequest* request,
                                              v1::DrainResponse* response) {
  absl::Status status = CheckUnknownFields(*request);
  if (status.ok()) {
    response->set_running(environment_.engine->num_live());
    environment_.drain(request->has_timeout_seconds()
                           ? std::optional(absl::Seconds(request->timeout_seconds()))
                           : std::nullopt);
  }
  auto* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(status));
  return reactor;
}

}  // namespace tessera::server
