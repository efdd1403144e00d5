// Thousands of Generate calls at once, without a thread for each: for load generators.
#ifndef TESSERA_CLIENT_LIB_MANY_STREAMS_H_
#define TESSERA_CLIENT_LIB_MANY_STREAMS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/lib/client.h"
#include "client/lib/request.h"
#include "client/lib/response.h"

namespace tessera::client {

// What becomes of one call. Called from gRPC's threads, one at a time for a call; must not block.
class StreamObserver {
 public:
  virtual ~StreamObserver() = default;
  virtual void OnAccepted() = 0;
  // A message with so many token ids (those that the request asked for) and bytes of text.
  virtual void OnDelta(size_t tokens, size_t text_bytes) = 0;
  virtual void OnFinished(const Usage& usage) = 0;
  // The last call: OK, or why there is no whole answer. May destroy the observer.
  virtual void OnEnd(const absl::Status& status) = 0;
};

// Thread-safe.
class ManyStreams {
 public:
  // Opens `connections` connections, over which the calls are spread in turn. Errors as of
  // Client::Connect.
  static absl::StatusOr<std::unique_ptr<ManyStreams>> Connect(const ClientOptions& options,
                                                              int connections);
  // Cancels what still runs, and returns when every observer has been told its end.
  ~ManyStreams();
  ManyStreams(const ManyStreams&) = delete;
  ManyStreams& operator=(const ManyStreams&) = delete;

  // Begins a call. `observer` is borrowed until its OnEnd.
  void Generate(const GenerateOptions& options, StreamObserver* observer);
  void CancelAll();

 private:
  class Impl;
  explicit ManyStreams(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_MANY_STREAMS_H_
