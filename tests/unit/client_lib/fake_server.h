// A gRPC server inside the test that answers what the test tells it to.
#ifndef TESSERA_TESTS_UNIT_CLIENT_LIB_FAKE_SERVER_H_
#define TESSERA_TESTS_UNIT_CLIENT_LIB_FAKE_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/server.h>

#include "absl/status/status.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "shard_loader/mutex.h"
#include "tessera/v1/admin.grpc.pb.h"
#include "tessera/v1/inference.grpc.pb.h"

namespace tessera::tests {

// Answers are set before the call that gets them; what arrived is read after it.
class FakeInference : public v1::Inference::Service {
 public:
  std::vector<v1::GenerateResponse> events;  // of Generate and Chat, in order
  absl::Status error;                        // after the events, or instead of an answer
  bool hang = false;                         // after the events: until the client leaves
  v1::TokenizeResponse tokenize;
  v1::DetokenizeResponse detokenize;
  v1::ApplyChatTemplateResponse rendered;
  v1::ApplyChatTemplateRequest render_request;
  v1::ListModelsResponse models;

  v1::GenerateRequest generate_request;
  std::vector<v1::ChatRequest> chat_requests;
  v1::TokenizeRequest tokenize_request;
  v1::DetokenizeRequest detokenize_request;

  // True as soon as a hanging call has seen its client leave; false after five seconds.
  bool WaitUntilCancelled();
  // True as soon as a call hangs; false after five seconds.
  bool WaitUntilHanging();

  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest*,
                        grpc::ServerWriter<v1::GenerateResponse>*) override;
  grpc::Status Chat(grpc::ServerContext*, const v1::ChatRequest*,
                    grpc::ServerWriter<v1::GenerateResponse>*) override;
  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest*,
                        v1::TokenizeResponse*) override;
  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest*,
                          v1::DetokenizeResponse*) override;
  grpc::Status ApplyChatTemplate(grpc::ServerContext*, const v1::ApplyChatTemplateRequest*,
                                 v1::ApplyChatTemplateResponse*) override;
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse*) override;

 private:
  grpc::Status Send(grpc::ServerContext&, grpc::ServerWriter<v1::GenerateResponse>&);
  bool WaitFor(const bool& flag);

  Mutex mutex_;
  CondVar changed_;
  bool hanging_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

class FakeAdmin : public v1::Admin::Service {
 public:
  std::vector<v1::ServerStatus> statuses;  // WatchStatus sends all, GetStatus the first
  v1::WatchStatusRequest watch_request;
  v1::DrainRequest drain_request;
  uint64_t running = 0;

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::ServerStatus*) override;
  grpc::Status WatchStatus(grpc::ServerContext*, const v1::WatchStatusRequest*,
                           grpc::ServerWriter<v1::ServerStatus>*) override;
  grpc::Status Drain(grpc::ServerContext*, const v1::DrainRequest*, v1::DrainResponse*) override;
};

// Says SERVING for "" and NOT_SERVING for "tessera.live"; knows no other name.
class FakeHealth : public grpc::health::v1::Health::Service {
 public:
  grpc::Status Check(grpc::ServerContext*, const grpc::health::v1::HealthCheckRequest*,
                     grpc::health::v1::HealthCheckResponse*) override;
};

// Listens on a free port of the loopback for as long as it lives.
class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  FakeInference inference;
  FakeAdmin admin;
  FakeHealth health;
  std::string target() const;  // "127.0.0.1:PORT"

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// Building blocks of answers.
v1::GenerateResponse AcceptedEvent(uint64_t seed, std::vector<uint32_t> prompt_ids = {});
v1::GenerateResponse DeltaEvent(const std::string& text, std::vector<uint32_t> ids = {});
v1::GenerateResponse FinishedEvent(v1::Finished::Reason reason, uint32_t prompt_tokens = 0,
                                   uint32_t completion_tokens = 0);

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_UNIT_CLIENT_LIB_FAKE_SERVER_H_
