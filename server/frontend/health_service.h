// The standard health service (grpc.health.v1), ready and live apart.
#ifndef TESSERA_SERVER_FRONTEND_HEALTH_SERVICE_H_
#define TESSERA_SERVER_FRONTEND_HEALTH_SERVICE_H_

#include <map>
#include <memory>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "grpc/health/v1/health.grpc.pb.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// "" and "tessera.v1.Inference" tell whether requests can be served now, "tessera.live" whether the
// process is alive. Thread-safe.
class HealthService : public grpc::health::v1::Health::CallbackService {
 public:
  using Response = grpc::health::v1::HealthCheckResponse;

  HealthService();  // live, not ready

  void SetReady(bool ready);

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  Response* response) override;
  grpc::ServerWriteReactor<Response>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  class Watcher;
  // SERVICE_UNKNOWN for other names.
  Response::ServingStatus StatusOf(const std::string& service) const;
  void Remove(Watcher* watcher);

  mutable Mutex mutex_;
  std::map<std::string, Response::ServingStatus> status_ ABSL_GUARDED_BY(mutex_);
  // Until gRPC lets go of them; shared with a SetReady under way.
  std::map<Watcher*, std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_HEALTH_SERVICE_H_
