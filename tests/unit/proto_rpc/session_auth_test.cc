#include "proto/rpc/session_auth.h"

#include <catch2/catch.hpp>

#include <fstream>

#include "absl/strings/escaping.h"
#include "tests/support/fixtures.h"

namespace tessera::rpc {
namespace {

SessionTerms Terms() {
  return {.epoch = 258, .server_nonce = std::string(32, 's'), .worker_nonce = std::string(32, 'w')};
}

TEST_CASE("a proof is HMAC-SHA256 over context, role, epoch and nonces") {
  // python3 -c "import hmac; print(hmac.new(b'key', b'tessera-session-v1' + b'server' +
  // (258).to_bytes(8, 'big') + b's' * 32 + b'w' * 32, 'sha256').hexdigest())"
  CHECK(absl::BytesToHexString(SessionProof("key", SessionRole::kServer, Terms()).value()) ==
        "3bdf0f16f932f782ce9320a1cdde9e003dc54d9a4c727ca3a0185a93f1126802");
}

TEST_CASE("a proof holds for its secret, role and terms alone") {
  std::string proof = SessionProof("key", SessionRole::kServer, Terms()).value();
  CHECK(CheckSessionProof("key", SessionRole::kServer, Terms(), proof).ok());
  CHECK(absl::IsUnauthenticated(CheckSessionProof("other", SessionRole::kServer, Terms(), proof)));
  CHECK(absl::IsUnauthenticated(CheckSessionProof("key", SessionRole::kWorker, Terms(), proof)));
  SessionTerms later = Terms();
  ++later.epoch;
  CHECK(absl::IsUnauthenticated(CheckSessionProof("key", SessionRole::kServer, later, proof)));
  CHECK(absl::IsUnauthenticated(CheckSessionProof("key", SessionRole::kServer, Terms(), "")));
  proof.back() ^= 1;
  CHECK(absl::IsUnauthenticated(CheckSessionProof("key", SessionRole::kServer, Terms(), proof)));
}

TEST_CASE("nonces of another length prove nothing") {
  SessionTerms terms = Terms();
  terms.worker_nonce.pop_back();
  CHECK(absl::IsInvalidArgument(SessionProof("key", SessionRole::kWorker, terms).status()));
  CHECK(absl::IsInvalidArgument(CheckSessionProof("key", SessionRole::kWorker, terms, "")));
}

TEST_CASE("random bytes differ") {
  CHECK(RandomBytes(32).value().size() == 32);
  CHECK(RandomBytes(32).value() != RandomBytes(32).value());
}

TEST_CASE("a secret file is read without the line's end, and must hold something") {
  tests::TempDir dir;
  std::string path = dir.path() / "secret";
  std::ofstream(path) << "a secret \r\n\n";
  CHECK(ReadSecretFile(path).value() == "a secret");
  std::ofstream(path) << "\n";
  CHECK(absl::IsFailedPrecondition(ReadSecretFile(path).status()));
  std::ofstream(path) << std::string(5000, 'x');
  CHECK(absl::IsFailedPrecondition(ReadSecretFile(path).status()));
  CHECK(absl::IsNotFound(ReadSecretFile(dir.path() / "none").status()));
}

}  // namespace
}  // namespace tessera::rpc
