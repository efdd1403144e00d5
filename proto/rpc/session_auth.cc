#include "proto/rpc/session_auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace tessera::rpc {
namespace {

constexpr std::string_view kContext = "tessera-session-v1";
constexpr size_t kMaxSecretBytes = 4096;

std::string BigEndian(uint64_t value) {
  std::string bytes(8, '\0');
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<char>(value & 0xff);
  return bytes;
}

}  // namespace

absl::StatusOr<std::string> RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1) {
    return absl::InternalError("the system gave no random bytes");
  }
  return bytes;
}

absl::StatusOr<std::string> SessionProof(std::string_view secret, SessionRole role,
                                         const SessionTerms& terms) {
  if (terms.server_nonce.size() != kSessionNonceBytes ||
      terms.worker_nonce.size() != kSessionNonceBytes) {
    return absl::InvalidArgumentError(absl::StrCat("session: nonces of ", terms.server_nonce.size(),
                                                   " and ", terms.worker_nonce.size(),
                                                   " bytes, expected ", kSessionNonceBytes));
  }
  std::string message(kContext);
  message += role == SessionRole::kServer ? "server" : "worker";
  message += BigEndian(terms.epoch);
  message += terms.server_nonce;
  message += terms.worker_nonce;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  // HMAC() reads no byte of an empty key, but wants a pointer.
  const char* key = secret.empty() ? "" : secret.data();
  if (HMAC(EVP_sha256(), key, static_cast<int>(secret.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(), digest.data(),
           &size) == nullptr) {
    return absl::InternalError("session: HMAC-SHA256 is not available");
  }
  return std::string(reinterpret_cast<const char*>(digest.data()), size);
}

absl::Status CheckSessionProof(std::string_view secret, SessionRole role, const SessionTerms& terms,
                               std::string_view proof) {
  absl::StatusOr<std::string> expected = SessionProof(secret, role, terms);
  if (!expected.ok()) return expected.status();
  if (proof.size() != expected->size() ||
      CRYPTO_memcmp(proof.data(), expected->data(), expected->size()) != 0) {
    return absl::UnauthenticatedError(
        absl::StrCat("session: the ", role == SessionRole::kServer ? "server" : "worker",
                     " does not know the secret of this side; give both the same --secret-file"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadSecretFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("secret file ", path, " cannot be read"));
  std::string secret(kMaxSecretBytes + 1, '\0');
  file.read(secret.data(), static_cast<std::streamsize>(secret.size()));
  secret.resize(static_cast<size_t>(file.gcount()));
  absl::StripTrailingAsciiWhitespace(&secret);
  if (secret.empty() || secret.size() > kMaxSecretBytes) {
    return absl::FailedPreconditionError(absl::StrCat(
        "secret file ", path, " holds ", secret.empty() ? "nothing" : "too much",
        "; it must hold 1 to ", kMaxSecretBytes, " bytes, e.g. of 'openssl rand -hex 32'"));
  }
  return secret;
}

}  // namespace tessera::rpc
