// The rank of production: a checkpoint, a runner and the communicators of its group.
#ifndef TESSERA_WORKER_APP_RUNNER_RANK_H_
#define TESSERA_WORKER_APP_RUNNER_RANK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/app/rank.h"

namespace tessera::worker {

class WeightImages;

struct RunnerRankOptions {
  int comm_fd = -1;  // the memory of shm; -1: none was inherited
  // Keeps the weights from one rank to the next; borrowed; null: they go with their rank.
  WeightImages* images = nullptr;
  int threads = 0;              // where Load leaves it to the worker; 0: one per CPU
  std::vector<int> cpus;        // that the threads stay on, in turn; empty: not pinned
  std::string kernels;          // only this set is offered; "auto": all that the machine runs
  std::string device = "auto";  // of the sets: auto (all), cpu, cuda
  std::string backend_dir;      // of plugins; empty: beside the program
  // For tests: a step that starts a sequence with this token, or draws it, ends the process.
  std::optional<uint32_t> test_exit_on_token;
  // For tests: such a step fails with an error.
  std::optional<uint32_t> test_fail_on_token;
  // For tests: the order of a sum is changed from this position on.
  std::optional<uint32_t> test_reorder_from;
  std::string trace_dir;  // gets a file of the residual's hashes per rank; empty: none
};

std::unique_ptr<Rank> MakeRunnerRank(const RunnerRankOptions& options);

// What Rank::Describe says, before any session.
internal::v1::Description DescribeWorker(const RunnerRankOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_RUNNER_RANK_H_
