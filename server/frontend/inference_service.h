// tessera.v1.Inference over gRPC.
#ifndef TESSERA_SERVER_FRONTEND_INFERENCE_SERVICE_H_
#define TESSERA_SERVER_FRONTEND_INFERENCE_SERVICE_H_

#include <atomic>
#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/statusor.h"
#include "server/engine/engine.h"
#include "server/frontend/served_model.h"
#include "server/frontend/writer_pool.h"
#include "server/text/chat_template.h"
#include "server/text/tokenizer.h"
#include "tessera/v1/inference.grpc.pb.h"

namespace tessera::server {

// Checks, renders and tokenizes requests on gRPC's threads and hands them to the engine.
// Thread-safe; borrows everything.
class InferenceService : public v1::Inference::CallbackService {
 public:
  // `chat_template` is null where the model has none.
  InferenceService(const ServedModel& model, const Tokenizer& tokenizer,
                   const ChatTemplate* chat_template, Engine& engine);

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerWriteReactor<v1::GenerateResponse>* Chat(grpc::CallbackServerContext* context,
                                                       const v1::ChatRequest* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* ApplyChatTemplate(grpc::CallbackServerContext* context,
                                              const v1::ApplyChatTemplateRequest* request,
                                              v1::ApplyChatTemplateResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;

 private:
  // With the prompt's ids, and its text where it is echoed.
  absl::StatusOr<Request> Prepare(const v1::GenerateRequest& request, std::string* text) const;
  absl::StatusOr<Request> Prepare(const v1::ChatRequest& request, std::string* text) const;
  template <typename Proto>
  grpc::ServerWriteReactor<v1::GenerateResponse>* Answer(grpc::CallbackServerContext& context,
                                                         const Proto& proto);
  absl::StatusOr<Rendered> Render(const struct Conversation& conversation) const;
  absl::Status Tokenize(const v1::TokenizeRequest& request, v1::TokenizeResponse& response) const;
  absl::Status Detokenize(const v1::DetokenizeRequest& request,
                          v1::DetokenizeResponse& response) const;
  absl::Status ApplyChatTemplate(const v1::ApplyChatTemplateRequest& request,
                                 v1::ApplyChatTemplateResponse& response) const;

  const ServedModel& model_;
  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_template_;
  Engine& engine_;
  WriterPool writers_;
  const std::string id_prefix_;  // of the request ids that are made here
  std::atomic<uint64_t> next_id_{1};
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_FRONTEND_INFERENCE_SERVICE_H_
