#include "server/frontend/inference_service.h"

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/rpc/deadline.h"
#include "proto/rpc/status.h"
#include "server/frontend/answer_stream.h"
#include "server/frontend/chat_input.h"
#include "server/frontend/check_request.h"
#include "server/frontend/restrictions.h"
#include "server/frontend/unknown_fields.h"
#include "server/text/detokenizer.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

uint64_t RandomBits() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// Of a machine that does other things too.
int NumWriters() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 4, 1, 4);
}

// Runs a unary method and ends its call.
template <typename Method>
grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context,
                                const google::protobuf::Message& request, Method method) {
  absl::Status status = CheckUnknownFields(request);
  if (status.ok()) status = method();
  auto* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(status));
  return reactor;
}

// The prompt's text as far as it is certain before its answer: what an answer adds goes on from it.
std::string TextBefore(const Request& request, const Tokenizer& tokenizer) {
  Detokenizer detokenizer(tokenizer, !request.keep_special_tokens);
  std::string text;
  for (uint32_t id : request.prompt) text += detokenizer.Append(id);
  return text;
}

}  // namespace

InferenceService::InferenceService(const ServedModel& model, const Tokenizer& tokenizer,
                                   const ChatTemplate* chat_template, Engine& engine)
    : model_(model),
      tokenizer_(tokenizer),
      chat_template_(chat_template),
      engine_(engine),
      writers_(NumWriters()),
      id_prefix_(absl::StrFormat("%08x", static_cast<uint32_t>(RandomBits()))) {}

absl::StatusOr<Request> InferenceService::Prepare(const v1::GenerateRequest& proto,
                                                  std::string* text) const {
  ASSIGN_OR_RETURN(Request request, CheckParameters(proto, model_));
  if (proto.has_token_ids()) {
    const auto& ids = proto.token_ids().ids();
    RETURN_IF_ERROR(CheckTokenIds("token_ids", ids, model_));
    request.prompt.assign(ids.begin(), ids.end());
    if (request.echo) *text = TextBefore(request, tokenizer_);
  } else {
    if (proto.text().empty()) return FieldError("prompt", "the prompt is empty");
    RETURN_IF_ERROR(CheckText("text", proto.text(), model_));
    ASSIGN_OR_RETURN(request.prompt, tokenizer_.EncodeIds(proto.text(), EncodeOptions{}));
    if (request.echo) *text = proto.text();
  }
  return request;
}

absl::StatusOr<Rendered> InferenceService::Render(const Conversation& conversation) const {
  if (chat_template_ == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("model '", model_.name,
                     "' has no chat template; use Generate, or start the server with "
                     "--chat-template FILE"));
  }
  ASSIGN_OR_RETURN(ChatTemplate::Input input, MakeChatInput(conversation, model_, absl::Now()));
  ASSIGN_OR_RETURN(Rendered rendered, chat_template_->Render(input));
  RETURN_IF_ERROR(CheckText("messages", rendered.text, model_));
  return rendered;
}

absl::StatusOr<Request> InferenceService::Prepare(const v1::ChatRequest& proto,
                                                  std::string* text) const {
  ASSIGN_OR_RETURN(Request request, CheckParameters(proto, model_));
  ASSIGN_OR_RETURN(Rendered rendered,
                   Render({.messages = &proto.messages(),
                           .tools_json = &proto.tools_json(),
                           .kwargs_json = &proto.chat_template_kwargs_json(),
                           .add_generation_prompt = !proto.has_add_generation_prompt() ||
                                                    proto.add_generation_prompt()}));
  ASSIGN_OR_RETURN(request.prompt,
                   EncodeRendered(tokenizer_, rendered, proto.parse_special_in_content()));
  if (request.echo) *text = std::move(rendered.text);
  return request;
}

template <typename Proto>
grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Answer(
    grpc::CallbackServerContext& context, const Proto& proto) {
  absl::Status known = CheckUnknownFields(proto);
  if (!known.ok()) return AnswerStream::Refuse(known);
  std::string text;
  absl::StatusOr<Request> request = Prepare(proto, &text);
  if (!request.ok()) return AnswerStream::Refuse(request.status());
  absl::Status words = ResolveBadWords(proto.sampling(), model_, tokenizer_, *request);
  if (!words.ok()) return AnswerStream::Refuse(words);
  absl::Status fits = FitLength(*request, model_);
  if (!fits.ok()) return AnswerStream::Refuse(fits);
  if (request->id.empty()) request->id = absl::StrCat(id_prefix_, "-", next_id_++);
  if (!proto.sampling().has_seed()) request->sampling.seed = RandomBits();
  request->deadline = rpc::FromGrpcDeadline(context.deadline());
  AnswerFormat format{.request_id = request->id,
                      .token_ids = proto.output().token_ids(),
                      .logprobs = request->logprobs,
                      .prompt_logprobs = std::nullopt,
                      .prompt = {},
                      .n = request->n,
                      .echo = std::nullopt,
                      .tokenizer = &tokenizer_};
  if (proto.output().has_prompt_logprobs()) {
    format.prompt_logprobs = proto.output().prompt_logprobs();
  }
  if (request->echo) format.echo = std::move(text);
  if (format.token_ids || request->prompt_logprobs) format.prompt = request->prompt;
  return AnswerStream::Start(engine_, writers_, *std::move(request), std::move(format), context);
}

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return Answer(*context, *request);
}

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Chat(
    grpc::CallbackServerContext* context, const v1::ChatRequest* request) {
  return Answer(*context, *request);
}

absl::Status InferenceService::Tokenize(const v1::TokenizeRequest& request,
                                        v1::TokenizeResponse& response) const {
  RETURN_IF_ERROR(CheckModelName(request.model(), model_));
  RETURN_IF_ERROR(CheckText("text", request.text(), model_));
  EncodeOptions options;
  options.add_special_tokens = !request.has_add_special_tokens() || request.add_special_tokens();
  options.parse_special = !request.has_parse_special_tokens() || request.parse_special_tokens();
  ASSIGN_OR_RETURN(std::vector<TokenPiece> pieces, tokenizer_.Encode(request.text(), options));
  for (const TokenPiece& piece : pieces) {
    auto* out = response.add_pieces();
    out->set_id(piece.id);
    out->set_bytes(tokenizer_.TokenBytes(piece.id));
    out->set_begin(piece.begin);
    out->set_end(piece.end);
    out->set_special(tokenizer_.IsSpecial(piece.id));
  }
  return absl::OkStatus();
}

absl::Status InferenceService::Detokenize(const v1::DetokenizeRequest& request,
                                          v1::DetokenizeResponse& response) const {
  RETURN_IF_ERROR(CheckModelName(request.model(), model_));
  const auto& ids = request.token_ids().ids();
  // More ids than the context has can still be read; each must be one of the vocabulary.
  for (int begin = 0; begin < ids.size(); begin += static_cast<int>(model_.max_model_len)) {
    absl::Span<const uint32_t> part = absl::MakeConstSpan(ids).subspan(begin, model_.max_model_len);
    RETURN_IF_ERROR(CheckTokenIds("token_ids", part, model_));
  }
  response.set_text(tokenizer_.Decode(ids, request.skip_special_tokens()));
  return absl::OkStatus();
}

absl::Status InferenceService::ApplyChatTemplate(const v1::ApplyChatTemplateRequest& request,
                                                 v1::ApplyChatTemplateResponse& response) const {
  RETURN_IF_ERROR(CheckModelName(request.model(), model_));
  ASSIGN_OR_RETURN(Rendered rendered,
                   Render({.messages = &request.messages(),
                           .tools_json = &request.tools_json(),
                           .kwargs_json = &request.chat_template_kwargs_json(),
                           .add_generation_prompt = !request.has_add_generation_prompt() ||
                                                    request.add_generation_prompt()}));
  ASSIGN_OR_RETURN(std::vector<uint32_t> ids,
                   EncodeRendered(tokenizer_, rendered, request.parse_special_in_content()));
  response.mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
  response.set_text(std::move(rendered.text));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  return Unary(context, *request, [&] { return Tokenize(*request, *response); });
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  return Unary(context, *request, [&] { return Detokenize(*request, *response); });
}

grpc::ServerUnaryReactor* InferenceService::ApplyChatTemplate(
    grpc::CallbackServerContext* context, const v1::ApplyChatTemplateRequest* request,
    v1::ApplyChatTemplateResponse* response) {
  return Unary(context, *request, [&] { return ApplyChatTemplate(*request, *response); });
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest* request,
                                                       v1::ListModelsResponse* response) {
  return Unary(context, *request, [&] {
    v1::Model* out = response->add_models();
    out->set_name(model_.name);
    out->set_family(model_.family);
    out->set_max_model_len(model_.max_model_len);
    out->set_vocab_size(model_.vocab_size);
    out->set_numerics_id(engine_.numerics_id());
    out->set_weights_version(model_.weights_version);
    out->set_num_parameters(model_.num_parameters);
    out->set_has_chat_template(chat_template_ != nullptr);
    return absl::OkStatus();
  });
}

}  // namespace tessera::server
