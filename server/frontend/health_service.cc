#include "server/frontend/health_service.h"

#include <utility>

namespace tessera::server {

using grpc::health::v1::HealthCheckRequest;

// Tells one client each change of one service, until it leaves. Changes that come while a write is
// under way are told as one.
class HealthService::Watcher : public grpc::ServerWriteReactor<Response> {
 public:
  Watcher(HealthService& health, std::string service)
      : health_(health), service_(std::move(service)) {}

  void Tell() {
    Response::ServingStatus status = health_.StatusOf(service_);
    {
      MutexLock lock(mutex_);
      if (finished_ || (told_ && response_.status() == status)) return;
      if (writing_) {
        again_ = true;
        return;
      }
      writing_ = told_ = true;
      response_.set_status(status);
    }
    StartWrite(&response_);
  }

 private:
  void OnWriteDone(bool) override {
    bool again, finish;
    {
      MutexLock lock(mutex_);
      writing_ = false;
      again = std::exchange(again_, false);
      finish = finished_;
    }
    if (finish) {
      Finish(grpc::Status::CANCELLED);
    } else if (again) {
      Tell();
    }
  }

  // Waits for the write under way, which fails soon: nothing may be written after Finish.
  void OnCancel() override {
    {
      MutexLock lock(mutex_);
      finished_ = true;
      if (writing_) return;
    }
    Finish(grpc::Status::CANCELLED);
  }

  void OnDone() override { health_.Remove(this); }

  HealthService& health_;
  const std::string service_;
  Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool told_ ABSL_GUARDED_BY(mutex_) = false;
  bool again_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  Response response_;  // unchanged while writing_
};

HealthService::HealthService()
    : status_({{"", Response::NOT_SERVING},
               {"tessera.v1.Inference", Response::NOT_SERVING},
               {"tessera.live", Response::SERVING}}) {}

void HealthService::SetReady(bool ready) {
  std::map<Watcher*, std::shared_ptr<Watcher>> watchers;
  {
    MutexLock lock(mutex_);
    status_[""] = status_["tessera.v1.Inference"] =
        ready ? Response::SERVING : Response::NOT_SERVING;
    watchers = watchers_;
  }
  for (const auto& [key, watcher] : watchers) watcher->Tell();
}

HealthService::Response::ServingStatus HealthService::StatusOf(const std::string& service) const {
  MutexLock lock(mutex_);
  auto it = status_.find(service);
  return it == status_.end() ? Response::SERVICE_UNKNOWN : it->second;
}

void HealthService::Remove(Watcher* watcher) {
  std::shared_ptr<Watcher> last;  // destroyed without the lock
  MutexLock lock(mutex_);
  auto it = watchers_.find(watcher);
  last = std::move(it->second);
  watchers_.erase(it);
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               Response* response) {
  auto* reactor = context->DefaultReactor();
  Response::ServingStatus status = StatusOf(request->service());
  if (status == Response::SERVICE_UNKNOWN) {
    reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND,
                                 "service '" + request->service() + "' is not known"));
  } else {
    response->set_status(status);
    reactor->Finish(grpc::Status::OK);
  }
  return reactor;
}

grpc::ServerWriteReactor<HealthService::Response>* HealthService::Watch(
    grpc::CallbackServerContext*, const HealthCheckRequest* request) {
  auto watcher = std::make_shared<Watcher>(*this, request->service());
  {
    MutexLock lock(mutex_);
    watchers_[watcher.get()] = watcher;
  }
  watcher->Tell();
  return watcher.get();
}

}  // namespace tessera::server
