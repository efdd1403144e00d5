// The gRPC server: its port and its services.
#ifndef TESSERA_SERVER_FRONTEND_FRONTEND_SERVER_H_
#define TESSERA_SERVER_FRONTEND_FRONTEND_SERVER_H_

#include <memory>
#include <string>

#include <grpcpp/server.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/frontend/admin_service.h"
#include "server/frontend/health_service.h"
#include "server/frontend/inference_service.h"

namespace tessera::server {

struct FrontendOptions {
  std::string host = "127.0.0.1";
  int port = 8001;  // 0: a free one
  // The largest request, in bytes.
  int max_message_bytes = 64 * 1024 * 1024;
};

// Thread-safe. Serves Inference, Admin, health and reflection from Create on.
class FrontendServer {
 public:
  // Borrows the services. UNAVAILABLE where the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<FrontendServer>> Create(const FrontendOptions& options,
                                                                InferenceService& inference,
                                                                AdminService& admin,
                                                                HealthService& health);
  ~FrontendServer();  // as Shutdown at once

  int port() const { return port_; }
  // host:port as a client writes it.
  const std::string& address() const { return address_; }

  // Takes no new calls, waits for those that run, cancels the rest at `deadline`.
  void Shutdown(absl::Time deadline);

 private:
  FrontendServer(std::unique_ptr<grpc::Server> server, int port, std::string address);

  const std::unique_ptr<grpc::Server> server_;
  const int port_;
  const std::string address_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_FRONTEND_SERVER_H_
