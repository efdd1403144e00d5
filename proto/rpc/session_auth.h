// How the two ends of a worker session prove that they hold the same secret
// (internal/v1/worker.proto: Hello, Challenge, Proof), without sending it.
#ifndef TESSERA_PROTO_RPC_SESSION_AUTH_H_
#define TESSERA_PROTO_RPC_SESSION_AUTH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera::rpc {

// Goes up with every change of internal/v1/worker.proto that an older peer would misread.
inline constexpr uint32_t kSessionProtocolVersion = 1;
inline constexpr size_t kSessionNonceBytes = 32;

enum class SessionRole { kServer, kWorker };

// What both proofs are about.
struct SessionTerms {
  uint64_t epoch = 0;
  std::string server_nonce;  // kSessionNonceBytes each
  std::string worker_nonce;
};

// Fresh random bytes; INTERNAL where the system has none.
absl::StatusOr<std::string> RandomBytes(size_t count);

// HMAC-SHA256 (RFC 2104) as worker.proto defines it: 32 bytes. INVALID_ARGUMENT where a nonce has
// not its length: a shorter one would let two different terms have the same proof.
absl::StatusOr<std::string> SessionProof(std::string_view secret, SessionRole role,
                                         const SessionTerms& terms);

// OK where `proof` is the one of `role`; compared in constant time. UNAUTHENTICATED otherwise.
absl::Status CheckSessionProof(std::string_view secret, SessionRole role, const SessionTerms& terms,
                               std::string_view proof);

// The secret in a file, without white space at its end. FAILED_PRECONDITION where it is empty or
// longer than 4,096 bytes, NOT_FOUND where the file cannot be read.
absl::StatusOr<std::string> ReadSecretFile(const std::string& path);

}  // namespace tessera::rpc

#endif  // TESSERA_PROTO_RPC_SESSION_AUTH_H_
