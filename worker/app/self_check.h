// What this machine offers to a group, for `tessera doctor`.
#ifndef TESSERA_WORKER_APP_SELF_CHECK_H_
#define TESSERA_WORKER_APP_SELF_CHECK_H_

#include <string>

#include <nlohmann/json.hpp>

#include "worker/app/runner_rank.h"

namespace tessera::worker {

// {"version", "host", "device", "threads", "memory_bytes", "kernels": [{"name", "numerics"}],
// "absent_kernels": [{"name", "needs"}], "comms": [names]}. "kernels" are those on offer, the one
// that `--kernels auto` takes first; absent ones are in this build, but not for this CPU.
nlohmann::json SelfCheckJson(const RunnerRankOptions& options);

// A line for each kernel set of this build, as `--kernels list` shows them: its numerics, whether
// this machine runs it or what it lacks, and which one `auto` takes.
std::string KernelSetsText(const RunnerRankOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_SELF_CHECK_H_
