// Deadlines of gRPC calls as absl::Time.
#ifndef TESSERA_PROTO_RPC_DEADLINE_H_
#define TESSERA_PROTO_RPC_DEADLINE_H_

#include <chrono>

#include "absl/time/time.h"

namespace tessera::rpc {

// gRPC says "no deadline" with a time point past the year 10,000: that becomes InfiniteFuture.
absl::Time FromGrpcDeadline(std::chrono::system_clock::time_point deadline);

// InfiniteFuture becomes time_point::max().
std::chrono::system_clock::time_point ToGrpcDeadline(absl::Time deadline);

}  // namespace tessera::rpc

#endif  // TESSERA_PROTO_RPC_DEADLINE_H_
