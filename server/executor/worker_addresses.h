// The addresses of remote workers, as --workers names them.
#ifndef TESSERA_SERVER_EXECUTOR_WORKER_ADDRESSES_H_
#define TESSERA_SERVER_EXECUTOR_WORKER_ADDRESSES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::server {

// One address per rank, as gRPC takes it. `workers`: a list of "host:port" and "unix:/path", or one
// "dns:NAME:PORT", which is looked up here and now: its addresses, ascending. INVALID_ARGUMENT for
// other forms or another number of entries than ranks; UNAVAILABLE where the name has not (yet) as
// many addresses as there are ranks.
absl::StatusOr<std::vector<std::string>> ResolveWorkers(const std::vector<std::string>& workers,
                                                        int num_ranks);

// The workers of each of `replicas` groups of `num_ranks`: their entries stand group by group, or
// there is one dns:NAME:PORT for each. Of local groups nothing. INVALID_ARGUMENT for another
// number.
absl::StatusOr<std::vector<std::vector<std::string>>> WorkersOfGroups(
    const std::vector<std::string>& workers, int replicas, int num_ranks);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_WORKER_ADDRESSES_H_
