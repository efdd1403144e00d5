// Starting a group's workers, or finding those that run elsewhere.
#ifndef TESSERA_SERVER_EXECUTOR_LAUNCH_H_
#define TESSERA_SERVER_EXECUTOR_LAUNCH_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/executor/child_process.h"
#include "server/executor/group_options.h"
#include "server/executor/mailbox.h"
#include "server/executor/runtime_folder.h"
#include "server/executor/unique_fd.h"

namespace tessera::server {

// The workers of one epoch. The destructor ends those that were started here. Thread-compatible.
struct LaunchedGroup {
  LaunchedGroup() = default;
  LaunchedGroup(LaunchedGroup&&) = default;
  LaunchedGroup& operator=(LaunchedGroup&&) = default;
  ~LaunchedGroup();

  std::string secret;
  std::vector<std::string> addresses;     // by rank
  bool local = false;                     // started here: they may not listen yet
  bool mpirun = false;                    // by mpirun
  bool simulated = false;                 // all of them in one process
  std::unique_ptr<RuntimeFolder> folder;  // of local ones; needed until they are connected
  std::vector<std::unique_ptr<ChildProcess>>
      children;  // by rank; or the one that plays or launches them
};

// The CPUs that the threads of a local rank stay on: its part of those of all ranks of all groups,
// or all where there are fewer than ranks. Empty: the system places them.
std::vector<int> CpusOfRank(const GroupOptions& options, int rank);

// The memory of the weights of every local rank: it outlives the ranks, so that those of the next
// epoch find what their predecessors have read.
using WeightMemory = std::vector<UniqueFd>;
absl::StatusOr<WeightMemory> MakeWeightMemory(int num_ranks);

// Returns without waiting for the workers. The loss of a child is put into `mailbox`. The children
// end when the calling thread ends.
absl::StatusOr<LaunchedGroup> LaunchGroup(const GroupOptions& options, const WeightMemory& weights,
                                          Mailbox* mailbox);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_EXECUTOR_LAUNCH_H_
