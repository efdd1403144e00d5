#include "client/lib/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/str_cat.h"
#include "client/lib/error_details.h"
#include "proto/rpc/deadline.h"
#include "proto/rpc/status.h"

namespace tessera::client {
namespace {

constexpr int kMaxMessageBytes = 64 << 20;
constexpr int kMinBackoffMs = 50;
constexpr int kMaxBackoffMs = 1000;
// For one attempt to connect, to a server that is busy, too: gRPC counts the greeting in.
constexpr int kAttemptMs = 10000;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kMinBackoffMs);
  // In spite of its name what an attempt may take; where it fails at once the next is not put off.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kAttemptMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxBackoffMs);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status AwaitConnection(grpc::Channel& channel, const ClientOptions& options) {
  const auto deadline = rpc::ToGrpcDeadline(absl::Now() + options.connect_timeout);
  while (true) {
    grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) return absl::OkStatus();
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE && !options.wait_for_server) break;
    if (!channel.WaitForStateChange(state, deadline)) break;
  }
  return Unreachable(
      absl::UnavailableError(absl::StrCat("no Tessera server answers at ", options.target)));
}

}  // namespace

absl::Status OpenChannel(const ClientOptions& options, std::shared_ptr<grpc::Channel>& channel) {
  channel = MakeChannel(options.target);
  return AwaitConnection(*channel, options);
}

absl::Status ErrorOf(const grpc::Status& status, grpc::Channel& channel) {
  absl::Status error = rpc::FromGrpc(status);
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && status.error_details().empty() &&
      channel.GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_READY) {
    return Unreachable(absl::UnavailableError(
        absl::StrCat("the connection to the server was lost (", status.error_message(), ")")));
  }
  return error;
}

void SetTimeout(absl::Duration timeout, grpc::ClientContext& context) {
  if (timeout == absl::InfiniteDuration()) return;
  context.set_deadline(rpc::ToGrpcDeadline(absl::Now() + timeout));
}

}  // namespace tessera::client
