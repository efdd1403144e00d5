// Deadlines on the clock that a CondVar waits by.
#ifndef TESSERA_SERVER_ENGINE_STEADY_DEADLINE_H_
#define TESSERA_SERVER_ENGINE_STEADY_DEADLINE_H_

#include <algorithm>
#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace tessera::server {

// A wait has an end even where no deadline is set: nothing depends on it but this promise.
inline constexpr absl::Duration kLongestWait = absl::Seconds(60);

inline std::chrono::steady_clock::time_point ToSteady(absl::Time deadline) {
  absl::Duration rest = std::clamp(deadline - absl::Now(), absl::ZeroDuration(), kLongestWait);
  return std::chrono::steady_clock::now() + absl::ToChronoMicroseconds(rest);
}

}  // namespace tessera::server

#endif  // TESSERA_SERVER_ENGINE_STEADY_DEADLINE_H_
