// Tells a group that works from one that hangs, by what its ranks send.
#ifndef TESSERA_SERVER_EXECUTOR_PROGRESS_WATCH_H_
#define TESSERA_SERVER_EXECUTOR_PROGRESS_WATCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::server {

// Time is passed in, and is a monotonic clock's. Thread-compatible.
class ProgressWatch {
 public:
  struct Limits {
    absl::Duration silence;  // of one rank
    absl::Duration stall;    // of all of them, while work is under way
  };
  ProgressWatch(int num_ranks, Limits limits, absl::Time now);

  // A rank has sent something.
  void Heard(int rank, absl::Time now) { ranks_[rank].last_heard = now; }
  // Its progress counter.
  void Progress(int rank, uint64_t progress, absl::Time now);
  // Something else shows that the group moves.
  void Moved(absl::Time now) { last_moved_ = now; }

  // To be called several times within the limits; `idle`: no work is under way. UNAVAILABLE names
  // the rank that is silent, or, where nothing moves, the one that has done the least. Where the
  // call itself comes late (this process was stopped, the machine slept), the ranks get their time
  // again: nobody could hear them.
  absl::Status Check(absl::Time now, bool idle);

 private:
  struct RankState {
    absl::Time last_heard;
    uint64_t progress = 0;
  };
  const Limits limits_;
  std::vector<RankState> ranks_;
  absl::Time last_moved_;
  absl::Time last_check_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_PROGRESS_WATCH_H_
