// How long a lost group waits before it is started again.
#ifndef TESSERA_SERVER_EXECUTOR_RESTART_BACKOFF_H_
#define TESSERA_SERVER_EXECUTOR_RESTART_BACKOFF_H_

#include <algorithm>

#include "absl/time/time.h"

namespace tessera::server {

// Thread-compatible.
class RestartBackoff {
 public:
  // `served`: how long the group that was lost had been ready; zero where it never was. After a
  // good while the first restart comes at once, then after 0.5 s, 1 s, 2 s ... up to 30 s.
  absl::Duration Next(absl::Duration served) {
    if (served >= kGoodWhile) delay_ = absl::ZeroDuration();
    absl::Duration result = delay_;
    delay_ = std::clamp(delay_ * 2, absl::Milliseconds(500), absl::Seconds(30));
    return result;
  }

 private:
  static constexpr absl::Duration kGoodWhile = absl::Seconds(30);
  absl::Duration delay_ = absl::ZeroDuration();
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_RESTART_BACKOFF_H_
