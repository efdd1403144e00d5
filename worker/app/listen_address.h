// Where a worker listens, as --listen says it.
#ifndef TESSERA_WORKER_APP_LISTEN_ADDRESS_H_
#define TESSERA_WORKER_APP_LISTEN_ADDRESS_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera::worker {

// One of "unix:/path" and "host:port".
struct ListenAddress {
  std::string socket_path;  // empty on TCP
  std::string host;         // "[::1]" keeps its brackets
  int port = 0;             // 0: the system chooses one

  bool is_tcp() const { return socket_path.empty(); }
  // As gRPC takes it.
  std::string ToString() const;
};

// `mpi_rank`, of a process that mpirun started, takes the place of "%r" in a path and is added to a
// port other than 0. INVALID_ARGUMENT says which forms there are.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text,
                                                 std::optional<int> mpi_rank);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_LISTEN_ADDRESS_H_
