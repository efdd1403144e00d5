// A typed client of tessera-server. Generated protobuf types and gRPC stay inside this library.
#ifndef TESSERA_CLIENT_LIB_CLIENT_H_
#define TESSERA_CLIENT_LIB_CLIENT_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/lib/request.h"
#include "client/lib/response.h"
#include "client/lib/server_status.h"
#include "client/lib/stream.h"

namespace tessera::client {

struct ClientOptions {
  // host:port, or unix:/path.
  std::string target = "127.0.0.1:8001";
  absl::Duration connect_timeout = absl::Seconds(5);
  // Where nobody listens yet: true tries until connect_timeout, false fails at once.
  bool wait_for_server = false;
  // Of every call that is answered once (streams have the timeout of their options).
  absl::Duration call_timeout = absl::Seconds(60);
};

// Thread-safe. Errors carry what DetailsOf (error_details.h) reads: the field that is wrong, when
// to try again, whether the server was reached at all.
class Client {
 public:
  // UNAVAILABLE, marked as unreachable, where no server answers in time.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options);

  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // One Accepted, then Deltas, then one Finished per sequence. CallOptions::retry says what a
  // server that goes away means for the stream.
  std::unique_ptr<Stream<GenerateEvent>> Generate(const GenerateOptions& options);
  std::unique_ptr<Stream<GenerateEvent>> Chat(const ChatOptions& options);

  absl::StatusOr<std::vector<TokenPiece>> Tokenize(std::string_view text,
                                                   const TokenizeOptions& options = {});
  absl::StatusOr<std::string> Detokenize(absl::Span<const uint32_t> token_ids,
                                         const DetokenizeOptions& options = {});
  // The prompt that Chat would make of the conversation.
  absl::StatusOr<RenderedPrompt> ApplyChatTemplate(const Conversation& conversation,
                                                   const std::string& model = "");
  absl::StatusOr<std::vector<ModelInfo>> ListModels();

  absl::StatusOr<ServerStatus> GetStatus();
  // A status now and again until the stream is cancelled; at least 100 ms apart.
  std::unique_ptr<Stream<ServerStatus>> WatchStatus(absl::Duration interval);
  // Refuses new requests, lets running ones end; the server exits after that. Returns how many
  // were running. Without a timeout the server's own --drain-timeout holds.
  absl::StatusOr<uint64_t> Drain(std::optional<absl::Duration> timeout = std::nullopt);

  absl::StatusOr<Health> CheckHealth(const std::string& service = "");

 private:
  struct Connection;
  explicit Client(std::unique_ptr<Connection> connection);

  const std::unique_ptr<Connection> connection_;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_CLIENT_H_
