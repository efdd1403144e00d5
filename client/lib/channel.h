// How this library connects to a server.
#ifndef TESSERA_CLIENT_LIB_CHANNEL_H_
#define TESSERA_CLIENT_LIB_CHANNEL_H_

#include <memory>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/lib/client.h"

namespace tessera::client {

// A connection of its own. Returns once it stands; UNAVAILABLE, marked as unreachable, where no
// server answers in time.
absl::Status OpenChannel(const ClientOptions& options, std::shared_ptr<grpc::Channel>& channel);

// An error of a call. One without details that comes while the connection is gone was made by gRPC
// on this side: the server did not answer.
absl::Status ErrorOf(const grpc::Status& status, grpc::Channel& channel);

void SetTimeout(absl::Duration timeout, grpc::ClientContext& context);

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_CHANNEL_H_
