#include "server/frontend/frontend_server.h"

#include <utility>

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "absl/strings/str_cat.h"
#include "proto/rpc/deadline.h"

namespace tessera::server {
namespace {

std::string HostPort(const std::string& host, int port) {
  bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  return bare_ipv6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FrontendServer>> FrontendServer::Create(
    const FrontendOptions& options, InferenceService& inference, AdminService& admin,
    HealthService& health) {
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  // Shared ports would let a second server start beside this one without a word.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(-1);
  int port = 0;
  builder.AddListeningPort(HostPort(options.host, options.port), grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&inference);
  builder.RegisterService(&admin);
  builder.RegisterService(&health);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", HostPort(options.host, options.port)));
  }
  return std::unique_ptr<FrontendServer>(
      new FrontendServer(std::move(server), port, HostPort(options.host, port)));
}

FrontendServer::FrontendServer(std::unique_ptr<grpc::Server> server, int port, std::string address)
    : server_(std::move(server)), port_(port), address_(std::move(address)) {}

FrontendServer::~FrontendServer() { Shutdown(absl::Now()); }

void FrontendServer::Shutdown(absl::Time deadline) {
  server_->Shutdown(rpc::ToGrpcDeadline(deadline));
  server_->Wait();
}

}  // namespace tessera::server
