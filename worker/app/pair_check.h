// Every pair of ranks on this machine exchanges data over every communicator, for `tessera doctor`.
#ifndef TESSERA_WORKER_APP_PAIR_CHECK_H_
#define TESSERA_WORKER_APP_PAIR_CHECK_H_

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace tessera::worker {

struct PairCheckOptions {
  int num_ranks = 2;
  std::string program;      // this one, which mpirun is to start; it then runs CheckMpiPairs
  std::string backend_dir;  // of plugins
};

// [{"comm", "ranks": [a, b], "ok", "detail"}]: an entry for every communicator of this build and
// every pair, ascending; a communicator that fails has one entry, with all its ranks.
nlohmann::json CheckPairs(const PairCheckOptions& options);

// What rank `rank` of an MPI world has found, in the same form.
nlohmann::json CheckMpiPairs(int rank, const PairCheckOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_PAIR_CHECK_H_
