// Why and when the server is to end: signals, the Drain call, or a model that cannot be served.
#ifndef TESSERA_SERVER_APP_END_REQUEST_H_
#define TESSERA_SERVER_APP_END_REQUEST_H_

#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "shard_loader/mutex.h"

namespace tessera::server {

// Thread-safe.
class EndRequest {
 public:
  struct Reason {
    bool failed = false;                    // else drain
    std::string why;                        // "SIGTERM"
    std::optional<absl::Duration> timeout;  // of the drain; none: the server's
  };

  // The first reason counts.
  void Set(Reason reason);
  // Until there is a reason.
  Reason Wait();

 private:
  Mutex mutex_;
  CondVar changed_;
  std::optional<Reason> reason_ ABSL_GUARDED_BY(mutex_);
};

// Blocks SIGTERM and SIGINT in this thread and those it will start; call it before any other.
void BlockEndSignals();

// Waits for those signals on a thread of its own. The first one sets `end`; the second calls
// `at_once`; a third one ends the process on the spot with 128 + N.
class EndSignals {
 public:
  EndSignals(EndRequest& end, std::function<void()> at_once);
  ~EndSignals();
  // The signal that came second, or 0: then the exit code is 128 + N.
  int repeated() const;

 private:
  void Run();

  EndRequest& end_;
  const std::function<void()> at_once_;
  mutable Mutex mutex_;
  int repeated_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_APP_END_REQUEST_H_
