// The life of the worker process: listens, serves sessions, and ends when it should.
#ifndef TESSERA_WORKER_APP_SERVE_H_
#define TESSERA_WORKER_APP_SERVE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/app/runner_rank.h"
#include "worker/app/sim_rank.h"

namespace tessera::worker {

struct ServeOptions {
  std::string listen;           // "unix:/path" or "host:port"
  std::optional<int> mpi_rank;  // of a process that mpirun started
  std::string secret;           // empty: none, which is refused on TCP
  // Of a local worker: reads end-of-file when the server has ended; the worker then ends too, at
  // once. -1: none.
  int parent_fd = -1;
  // Ends with its first session, or where none has come within `first_session_timeout`. A worker
  // with a parent does so too.
  bool once = false;
  absl::Duration first_session_timeout = absl::Seconds(60);
  std::string version;
  RunnerRankOptions rank;
  // Instead of `rank`: all ranks of a simulated group, each on its own socket, whose path has the
  // rank in the place of "%r".
  std::optional<SimOptions> sim;
};

// Returns once the worker is told to end (SIGTERM, SIGINT) or its session is over. To be called
// from the first thread, before there is another. The socket is removed in every case.
// INVALID_ARGUMENT, FAILED_PRECONDITION (TCP without secret), UNAVAILABLE (the address is in use).
absl::Status Serve(const ServeOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_SERVE_H_
