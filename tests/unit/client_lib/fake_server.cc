#include "tests/unit/client_lib/fake_server.h"

#include <chrono>
#include <stdexcept>
#include <thread>

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "proto/rpc/status.h"

namespace tessera::tests {

bool FakeInference::WaitFor(const bool& flag) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  MutexLock lock(mutex_);
  while (!flag) {
    if (!changed_.WaitUntil(mutex_, deadline)) return flag;
  }
  return true;
}

bool FakeInference::WaitUntilCancelled() { return WaitFor(cancelled_); }
bool FakeInference::WaitUntilHanging() { return WaitFor(hanging_); }

grpc::Status FakeInference::Send(grpc::ServerContext& context,
                                 grpc::ServerWriter<v1::GenerateResponse>& writer) {
  for (const auto& event : events) writer.Write(event);
  if (hang) {
    {
      MutexLock lock(mutex_);
      hanging_ = true;
      changed_.NotifyAll();
    }
    while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    MutexLock lock(mutex_);
    cancelled_ = true;
    changed_.NotifyAll();
  }
  return rpc::ToGrpc(error);
}

grpc::Status FakeInference::Generate(grpc::ServerContext* context,
                                     const v1::GenerateRequest* request,
                                     grpc::ServerWriter<v1::GenerateResponse>* writer) {
  generate_request = *request;
  return Send(*context, *writer);
}

grpc::Status FakeInference::Chat(grpc::ServerContext* context, const v1::ChatRequest* request,
                                 grpc::ServerWriter<v1::GenerateResponse>* writer) {
  chat_requests.push_back(*request);
  return Send(*context, *writer);
}

grpc::Status FakeInference::Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) {
  tokenize_request = *request;
  *response = tokenize;
  return rpc::ToGrpc(error);
}

grpc::Status FakeInference::Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) {
  detokenize_request = *request;
  *response = detokenize;
  return rpc::ToGrpc(error);
}

grpc::Status FakeInference::ApplyChatTemplate(grpc::ServerContext*,
                                              const v1::ApplyChatTemplateRequest* request,
                                              v1::ApplyChatTemplateResponse* response) {
  render_request = *request;
  *response = rendered;
  return rpc::ToGrpc(error);
}

grpc::Status FakeInference::ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                                       v1::ListModelsResponse* response) {
  *response = models;
  return rpc::ToGrpc(error);
}

grpc::Status FakeAdmin::GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                                  v1::ServerStatus* response) {
  if (!statuses.empty()) *response = statuses.front();
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::WatchStatus(grpc::ServerContext*, const v1::WatchStatusRequest* request,
                                    grpc::ServerWriter<v1::ServerStatus>* writer) {
  watch_request = *request;
  for (const auto& status : statuses) writer->Write(status);
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::Drain(grpc::ServerContext*, const v1::DrainRequest* request,
                              v1::DrainResponse* response) {
  drain_request = *request;
  response->set_running(running);
  return grpc::Status::OK;
}

grpc::Status FakeHealth::Check(grpc::ServerContext*,
                               const grpc::health::v1::HealthCheckRequest* request,
                               grpc::health::v1::HealthCheckResponse* response) {
  if (request->service().empty()) {
    response->set_status(grpc::health::v1::HealthCheckResponse::SERVING);
  } else if (request->service() == "tessera.live") {
    response->set_status(grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  } else {
    return {grpc::StatusCode::NOT_FOUND, "no such service"};
  }
  return grpc::Status::OK;
}

FakeServer::FakeServer() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(&inference);
  builder.RegisterService(&admin);
  builder.RegisterService(&health);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) throw std::runtime_error("the fake server cannot listen");
}

FakeServer::~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

std::string FakeServer::target() const { return "127.0.0.1:" + std::to_string(port_); }

v1::GenerateResponse AcceptedEvent(uint64_t seed, std::vector<uint32_t> prompt_ids) {
  v1::GenerateResponse event;
  event.set_request_id("r-1");
  event.mutable_accepted()->set_seed(seed);
  event.mutable_accepted()->set_numerics_id("n-1");
  event.mutable_accepted()->set_weights_version("w-1");
  event.mutable_accepted()->mutable_prompt_token_ids()->mutable_ids()->Add(prompt_ids.begin(),
                                                                           prompt_ids.end());
  return event;
}

v1::GenerateResponse DeltaEvent(const std::string& text, std::vector<uint32_t> ids) {
  v1::GenerateResponse event;
  event.set_request_id("r-1");
  event.mutable_delta()->set_text(text);
  event.mutable_delta()->mutable_token_ids()->Add(ids.begin(), ids.end());
  return event;
}

v1::GenerateResponse FinishedEvent(v1::Finished::Reason reason, uint32_t prompt_tokens,
                                   uint32_t completion_tokens) {
  v1::GenerateResponse event;
  event.set_request_id("r-1");
  event.mutable_finished()->set_reason(reason);
  event.mutable_finished()->mutable_usage()->set_prompt_tokens(prompt_tokens);
  event.mutable_finished()->mutable_usage()->set_completion_tokens(completion_tokens);
  return event;
}

}  // namespace tessera::tests
