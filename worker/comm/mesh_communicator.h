// Communicator over any Links.
#ifndef TESSERA_WORKER_COMM_MESH_COMMUNICATOR_H_
#define TESSERA_WORKER_COMM_MESH_COMMUNICATOR_H_

#include <memory>

#include "absl/time/time.h"
#include "worker/comm/group_comms.h"
#include "worker/comm/links.h"

namespace tessera::worker {

// The communicators of rank links->rank() of a group of links->size() = tp * pp ranks. Every
// exchange ends within `timeout`.
GroupComms MakeMeshComms(std::unique_ptr<Links> links, int tp, absl::Duration timeout);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_MESH_COMMUNICATOR_H_
