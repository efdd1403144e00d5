// Messages that the server sends one after another, pulled by the caller.
#ifndef TESSERA_CLIENT_LIB_STREAM_H_
#define TESSERA_CLIENT_LIB_STREAM_H_

#include <optional>

#include "absl/status/statusor.h"

namespace tessera::client {

// Next is for one thread at a time; Cancel may come from any thread at any time. Destroying a
// stream that has not ended cancels it, and the server drops its request. A stream must not outlive
// its Client.
template <typename T>
class Stream {
 public:
  virtual ~Stream() = default;
  // Blocks until the next message, the end (nullopt), or an error. After one of the latter two it
  // answers the same again. A cancelled stream ends in CANCELLED.
  virtual absl::StatusOr<std::optional<T>> Next() = 0;
  virtual void Cancel() = 0;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_LIB_STREAM_H_
