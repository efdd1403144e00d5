// Ranks as threads of one process.
#ifndef TESSERA_WORKER_COMM_LOCAL_COMMUNICATOR_H_
#define TESSERA_WORKER_COMM_LOCAL_COMMUNICATOR_H_

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "worker/comm/group_comms.h"

namespace tessera::worker {

// The communicators of all tp * pp ranks, index: rank. Each is used by one thread; destroying one
// ends the waits of its peers with UNAVAILABLE.
std::vector<GroupComms> MakeLocalComms(int tp, int pp, absl::Duration timeout);

// Without stages: one group of `size` ranks.
std::vector<std::unique_ptr<Communicator>> MakeLocalGroup(int size, absl::Duration timeout);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_LOCAL_COMMUNICATOR_H_
