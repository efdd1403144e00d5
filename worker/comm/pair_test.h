// A test of the connections themselves: every pair of ranks exchanges bytes that are checked and
// timed. Run at start-up on request, and by `tessera doctor`.
#ifndef TESSERA_WORKER_COMM_PAIR_TEST_H_
#define TESSERA_WORKER_COMM_PAIR_TEST_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/comm/communicator.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

struct PairTestOptions {
  int round_trips = 50;          // of a small message, per pair
  size_t small_bytes = 8;        // of it
  size_t large_bytes = 4 << 20;  // of the message that is timed for bandwidth, there and back
  double slow_factor = 4;        // a pair this many times worse than the median is called slow
};

struct PairTiming {
  int a = 0;  // ranks, a < b
  int b = 0;
  double latency_us = 0;      // half of a round trip, the median
  double bandwidth_mb_s = 0;  // 10^6 bytes per second, one way
};

// Collective: all ranks call it with equal options; pairs are tested one after another. Every rank
// gets all timings, ordered by (a, b). `memory`: what the communicator's spans lie in; copies to
// and from the host are not timed. An error names the pair: DATA_LOSS where bytes changed, else
// that of the communicator.
absl::StatusOr<std::vector<PairTiming>> TestPairs(Communicator& comm,
                                                  const PairTestOptions& options,
                                                  Memory& memory = HostMemory());

// Sentences about pairs that are much slower than the median pair; empty where all are alike.
std::vector<std::string> SlowPairs(absl::Span<const PairTiming> timings, double slow_factor);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_PAIR_TEST_H_
