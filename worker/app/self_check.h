// What this machine offers to a group, for `tessera doctor`.
#ifndef TESSERA_WORKER_APP_SELF_CHECK_H_
#define TESSERA_WORKER_APP_SELF_CHECK_H_

#include <nlohmann/json.hpp>

#include "worker/app/runner_rank.h"

namespace tessera::worker {

// {"version", "host", "device", "threads", "memory_bytes", "kernels": [{"name", "numerics"}],
// "comms": [names]}.
nlohmann::json SelfCheckJson(const RunnerRankOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_SELF_CHECK_H_
