#include "client/lib/client.h"

#include <utility>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include "client/lib/channel.h"
#include "client/lib/convert.h"
#include "client/lib/error_details.h"
#include "client/lib/resume.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "proto/rpc/status.h"
#include "shard_loader/status_macros.h"
#include "tessera/v1/admin.grpc.pb.h"
#include "tessera/v1/inference.grpc.pb.h"

namespace tessera::client {
namespace {

// A server-side stream of gRPC, its messages turned into T by FromProto.
template <typename T, typename Message>
class GrpcStream : public Stream<T> {
 public:
  GrpcStream(std::shared_ptr<grpc::Channel> channel, absl::Duration timeout)
      : channel_(std::move(channel)) {
    SetTimeout(timeout, context_);
  }

  ~GrpcStream() override {
    context_.TryCancel();
    if (!end_) reader_->Finish();
  }

  grpc::ClientContext& context() { return context_; }
  void Start(std::unique_ptr<grpc::ClientReader<Message>> reader) { reader_ = std::move(reader); }

  absl::StatusOr<std::optional<T>> Next() override {
    if (!end_) {
      Message message;
      if (reader_->Read(&message)) return FromProto(message);
      end_ = ErrorOf(reader_->Finish(), *channel_);
    }
    if (!end_->ok()) return *end_;
    return std::nullopt;
  }

  void Cancel() override { context_.TryCancel(); }

 private:
  const std::shared_ptr<grpc::Channel> channel_;  // shared with the Client and its stubs
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<Message>> reader_;
  std::optional<absl::Status> end_;
};

using GenerateStream = GrpcStream<GenerateEvent, v1::GenerateResponse>;
using StatusStream = GrpcStream<ServerStatus, v1::ServerStatus>;

}  // namespace

struct Client::Connection {
  ClientOptions options;
  std::shared_ptr<grpc::Channel> channel;  // shared with the stubs and the streams
  std::unique_ptr<v1::Inference::Stub> inference;
  std::unique_ptr<v1::Admin::Stub> admin;
  std::unique_ptr<grpc::health::v1::Health::Stub> health;

  // Runs one call that is answered once.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request) {
    grpc::ClientContext context;
    SetTimeout(options.call_timeout, context);
    Response response;
    grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return ErrorOf(status, *channel);
    return response;
  }
};

Client::Client(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  auto connection = std::make_unique<Connection>();
  connection->options = options;
  RETURN_IF_ERROR(OpenChannel(options, connection->channel));
  connection->inference = v1::Inference::NewStub(connection->channel);
  connection->admin = v1::Admin::NewStub(connection->channel);
  connection->health = grpc::health::v1::Health::NewStub(connection->channel);
  return std::unique_ptr<Client>(new Client(std::move(connection)));
}

std::unique_ptr<Stream<GenerateEvent>> Client::Generate(const GenerateOptions& options) {
  const auto start = [this](const GenerateOptions& call) {
    auto stream = std::make_unique<GenerateStream>(connection_->channel, call.timeout);
    stream->Start(connection_->inference->Generate(&stream->context(), ToProto(call)));
    return stream;
  };
  if (options.retry == Retry::kNone) return start(options);
  const auto first = [start, prompt = options.prompt](const CallOptions& call) {
    return start(GenerateOptions{call, prompt});
  };
  return MakeResumingStream(options, {.first = first, .again = start});
}

std::unique_ptr<Stream<GenerateEvent>> Client::Chat(const ChatOptions& options) {
  const auto start = [this](const ChatOptions& call) {
    auto stream = std::make_unique<GenerateStream>(connection_->channel, call.timeout);
    stream->Start(connection_->inference->Chat(&stream->context(), ToProto(call)));
    return stream;
  };
  if (options.retry == Retry::kNone) return start(options);
  const auto first = [start, conversation = options.conversation](const CallOptions& call) {
    return start(ChatOptions{call, conversation});
  };
  // The prompt's ids, not the conversation: a template may render the time of day.
  const auto again = [this](const GenerateOptions& call) {
    GenerateOptions once = call;
    once.retry = Retry::kNone;
    return Generate(once);
  };
  return MakeResumingStream(options, {.first = first, .again = again});
}

absl::StatusOr<std::vector<TokenPiece>> Client::Tokenize(std::string_view text,
                                                         const TokenizeOptions& options) {
  v1::TokenizeRequest request;
  request.set_model(options.model);
  request.set_text(std::string(text));
  if (options.add_special_tokens) request.set_add_special_tokens(*options.add_special_tokens);
  if (options.parse_special_tokens) request.set_parse_special_tokens(*options.parse_special_tokens);
  ASSIGN_OR_RETURN(
      v1::TokenizeResponse response,
      connection_->Call(*connection_->inference, &v1::Inference::Stub::Tokenize, request));
  std::vector<TokenPiece> pieces;
  pieces.reserve(response.pieces_size());
  for (const auto& piece : response.pieces()) pieces.push_back(FromProto(piece));
  return pieces;
}

absl::StatusOr<std::string> Client::Detokenize(absl::Span<const uint32_t> token_ids,
                                               const DetokenizeOptions& options) {
  v1::DetokenizeRequest request;
  request.set_model(options.model);
  request.mutable_token_ids()->mutable_ids()->Add(token_ids.begin(), token_ids.end());
  if (options.skip_special_tokens) request.set_skip_special_tokens(*options.skip_special_tokens);
  ASSIGN_OR_RETURN(
      v1::DetokenizeResponse response,
      connection_->Call(*connection_->inference, &v1::Inference::Stub::Detokenize, request));
  return std::move(*response.mutable_text());
}

absl::StatusOr<RenderedPrompt> Client::ApplyChatTemplate(const Conversation& conversation,
                                                         const std::string& model) {
  ASSIGN_OR_RETURN(
      v1::ApplyChatTemplateResponse response,
      connection_->Call(*connection_->inference, &v1::Inference::Stub::ApplyChatTemplate,
                        ToProto(conversation, model)));
  const auto& ids = response.token_ids().ids();
  return RenderedPrompt{response.text(), {ids.begin(), ids.end()}};
}

absl::StatusOr<std::vector<ModelInfo>> Client::ListModels() {
  ASSIGN_OR_RETURN(
      v1::ListModelsResponse response,
      connection_->Call(*connection_->inference, &v1::Inference::Stub::ListModels, {}));
  std::vector<ModelInfo> models;
  for (const v1::Model& model : response.models()) models.push_back(FromProto(model));
  return models;
}

absl::StatusOr<ServerStatus> Client::GetStatus() {
  ASSIGN_OR_RETURN(v1::ServerStatus response,
                   connection_->Call(*connection_->admin, &v1::Admin::Stub::GetStatus, {}));
  return FromProto(response);
}

std::unique_ptr<Stream<ServerStatus>> Client::WatchStatus(absl::Duration interval) {
  auto stream = std::make_unique<StatusStream>(connection_->channel, absl::InfiniteDuration());
  v1::WatchStatusRequest request;
  request.set_interval_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(interval)));
  stream->Start(connection_->admin->WatchStatus(&stream->context(), request));
  return stream;
}

absl::StatusOr<uint64_t> Client::Drain(std::optional<absl::Duration> timeout) {
  v1::DrainRequest request;
  if (timeout) {
    request.set_timeout_seconds(static_cast<uint32_t>(absl::ToInt64Seconds(*timeout)));
  }
  ASSIGN_OR_RETURN(v1::DrainResponse response,
                   connection_->Call(*connection_->admin, &v1::Admin::Stub::Drain, request));
  return response.running();
}

absl::StatusOr<Health> Client::CheckHealth(const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  auto response =
      connection_->Call(*connection_->health, &grpc::health::v1::Health::Stub::Check, request);
  if (absl::IsNotFound(response.status())) return Health::kServiceUnknown;
  RETURN_IF_ERROR(response.status());
  switch (response->status()) {
    case grpc::health::v1::HealthCheckResponse::SERVING:
      return Health::kServing;
    case grpc::health::v1::HealthCheckResponse::NOT_SERVING:
      return Health::kNotServing;
    default:
      return Health::kUnknown;
  }
}

}  // namespace tessera::client
