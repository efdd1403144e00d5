// absl::Status to grpc::Status and back, with rich error details. The one place where they meet.
#ifndef TESSERA_PROTO_RPC_STATUS_H_
#define TESSERA_PROTO_RPC_STATUS_H_

#include <string_view>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::rpc {

// Adds a google.rpc.RetryInfo: the client may try again after `delay`.
void SetRetryDelay(absl::Status& status, absl::Duration delay);

// The delay that SetRetryDelay set; zero where there is none.
absl::Duration RetryDelay(const absl::Status& status);

// Adds a google.rpc.BadRequest that names the field of the request (dotted path).
void SetFieldViolation(absl::Status& status, std::string_view field);

// The field that SetFieldViolation named; empty where there is none.
std::string FieldViolation(const absl::Status& status);

// Codes map one to one; payloads travel as google.rpc.Status details.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace tessera::rpc

#endif  // TESSERA_PROTO_RPC_STATUS_H_
