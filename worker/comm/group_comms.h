// The communicators of one rank of a tp x pp group.
#ifndef TESSERA_WORKER_COMM_GROUP_COMMS_H_
#define TESSERA_WORKER_COMM_GROUP_COMMS_H_

#include <memory>

#include "worker/comm/communicator.h"

namespace tessera::worker {

// rank = stage * tp + tp_index, as in shard_loader's RankPlan. Neither pointer is ever null, also
// for tp = pp = 1. Both are used by one thread at a time, and break together.
struct GroupComms {
  std::unique_ptr<Communicator> group;   // all tp * pp ranks; index: rank
  std::unique_ptr<Communicator> tensor;  // the ranks of this rank's stage; index: tp_index
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_GROUP_COMMS_H_
