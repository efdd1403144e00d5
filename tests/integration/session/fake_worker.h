// A worker inside the test, whose rank does what the test says.
#ifndef TESSERA_TESTS_INTEGRATION_SESSION_FAKE_WORKER_H_
#define TESSERA_TESTS_INTEGRATION_SESSION_FAKE_WORKER_H_

#include <filesystem>
#include <memory>
#include <string>

#include <grpcpp/server.h>

#include "worker/app/worker_service.h"

namespace tessera::tests {

enum class FakeBehaviour {
  kWorks,         // answers steps at once, with a token each
  kHangs,         // after the first forward pass a step never ends, and no layer is done
  kDiverges,      // after the first forward pass its ids hash to something else
  kOtherVersion,  // says that it is another version of the program
  kForgets,       // cannot load
};

// Serves on a unix socket in `folder`, with the secret "a secret".
class FakeWorker {
 public:
  FakeWorker(const std::filesystem::path& folder, const std::string& name, FakeBehaviour behaviour);
  ~FakeWorker();

  const std::string& address() const { return address_; }

 private:
  const std::string address_;
  worker::WorkerService service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_INTEGRATION_SESSION_FAKE_WORKER_H_
