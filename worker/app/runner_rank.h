// The rank of production: a checkpoint, a runner and the communicators of its group.
#ifndef TESSERA_WORKER_APP_RUNNER_RANK_H_
#define TESSERA_WORKER_APP_RUNNER_RANK_H_

#include <memory>
#include <string>

#include "worker/app/rank.h"

namespace tessera::worker {

class WeightImages;

struct RunnerRankOptions {
  int comm_fd = -1;  // the memory of shm; -1: none was inherited
  // Keeps the weights from one rank to the next; borrowed; null: they go with their rank.
  WeightImages* images = nullptr;
  int threads = 0;          // where Load leaves it to the worker; 0: one per CPU
  std::string kernels;      // only this set is offered; "auto": all that the machine runs
  std::string backend_dir;  // of plugins; empty: beside the program
};

std::unique_ptr<Rank> MakeRunnerRank(const RunnerRankOptions& options);

// What Rank::Describe says, before any session.
internal::v1::Description DescribeWorker(const RunnerRankOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_APP_RUNNER_RANK_H_
