// tessera.v1.Admin over gRPC.
#ifndef TESSERA_SERVER_FRONTEND_ADMIN_SERVICE_H_
#define TESSERA_SERVER_FRONTEND_ADMIN_SERVICE_H_

#include <functional>
#include <optional>
#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/time/time.h"
#include "server/engine/engine.h"
#include "tessera/v1/admin.grpc.pb.h"

namespace tessera::server {

// Thread-safe; borrows everything.
class AdminService : public v1::Admin::CallbackService {
 public:
  struct Environment {
    std::string model;
    const Engine* engine = nullptr;
    // Begins to drain; the timeout of the request, if it has one. Must not block.
    std::function<void(std::optional<absl::Duration>)> drain;
  };

  explicit AdminService(Environment environment);

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::ServerStatus* response) override;
  grpc::ServerWriteReactor<v1::ServerStatus>* WatchStatus(
      grpc::CallbackServerContext* context, const v1::WatchStatusRequest* request) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override;

  v1::ServerStatus Status() const;

 private:
  const Environment environment_;
  const absl::Time start_ = absl::Now();
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_ADMIN_SERVICE_H_
