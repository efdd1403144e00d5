// How long a lost group waits before it is started again.
#ifndef TESSERA_SERVER_EXECUTOR_RESTART_BACKOFF_H_
#define TESSERA_SERVER_EXECUTOR_RESTART_BACKOFF_H_

#include <algorithm>

#include "absl/time/time.h"

namespace tessera::server {

// Thread-compatible.
class RestartBackoff {
 public:
  // `bring_up`: how long the group that was lost took to get ready, or to fail to; `served`: how
  // long it was ready after that; `drew`: whether it gave a token meanwhile. One that was of use (a
  // token, or ready for as long as it took to make or for a second) is made again at once; others
  // after 0 s, 0.1 s, 0.2 s, 0.4 s ... up to 30 s.
  absl::Duration Next(absl::Duration bring_up, absl::Duration served, bool drew) {
    if (drew || served >= std::min(std::max(bring_up, absl::Milliseconds(50)), absl::Seconds(1))) {
      delay_ = absl::ZeroDuration();
    }
    absl::Duration result = delay_;
    delay_ = std::clamp(delay_ * 2, absl::Milliseconds(100), absl::Seconds(30));
    return result;
  }

 private:
  absl::Duration delay_ = absl::ZeroDuration();
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_RESTART_BACKOFF_H_
