// Ranks as processes of one host, over memory that they inherit.
#ifndef TESSERA_WORKER_COMM_SHM_COMMUNICATOR_H_
#define TESSERA_WORKER_COMM_SHM_COMMUNICATOR_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/group_comms.h"

namespace tessera::worker {

// A new empty region: an anonymous file that lives as long as somebody holds it. The caller owns
// the descriptor, which is closed on exec. The ranks give it its size.
absl::StatusOr<int> CreateShmRegion();

// Bytes of address space that a region of `ranks` takes; memory only where it is used.
size_t ShmRegionBytes(int ranks);

// Joins the group as rank `rank` of tp * pp, and returns when all ranks have joined. `fd` is
// borrowed and may be closed afterwards. A peer's process that ends is noticed while waiting
// (UNAVAILABLE). Errors: FAILED_PRECONDITION where the region belongs to a group of another shape
// or version, or this rank has used it before; DEADLINE_EXCEEDED naming who did not join.
absl::StatusOr<GroupComms> ConnectShm(int fd, int rank, int tp, int pp, absl::Duration timeout);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_SHM_COMMUNICATOR_H_
