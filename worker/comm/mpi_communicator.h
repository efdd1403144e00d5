// Ranks that mpirun started, over the MPI library that a plugin was built with.
#ifndef TESSERA_WORKER_COMM_MPI_COMMUNICATOR_H_
#define TESSERA_WORKER_COMM_MPI_COMMUNICATOR_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/group_comms.h"

namespace tessera::worker {

// The file of the plugin: in `plugin_dir`, else beside this program, in ../lib or ../lib/tessera
// from there. FAILED_PRECONDITION, saying where it was looked for.
absl::StatusOr<std::string> FindMpiPlugin(const std::string& plugin_dir);

// Joins the MPI world as rank `rank` of tp * pp, whatever its number there. The process must have
// been started by mpirun; the world ends with any of its ranks.
absl::StatusOr<GroupComms> ConnectMpi(const std::string& plugin_dir, int rank, int tp, int pp,
                                      absl::Duration timeout);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_MPI_COMMUNICATOR_H_
