// The sum over a sharded dimension (worker/README.md, rule 2): fp32 partial sums of lanes are added
// along the tree of the cuts, left plus right, by every rank alike. The result does not depend on
// how many ranks share the lanes, nor on the transport, nor on the way that the bytes take.
#ifndef TESSERA_WORKER_COMM_LANE_SUM_H_
#define TESSERA_WORKER_COMM_LANE_SUM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "shard_loader/plan/lanes.h"
#include "worker/comm/communicator.h"

namespace tessera::worker {

// Sums of fewer bytes than this, per partial sum, go one-shot: every rank gathers all partial sums
// and finishes the tree. Larger ones go two-shot: each rank finishes the tree for its slice of the
// columns, and the slices are gathered.
inline constexpr size_t kOneShotBytes = 32 << 10;

// Memory that LaneSum reuses between calls; it grows to the largest call seen. Thread-compatible.
class LaneSumWorkspace {
 public:
  // The bytes that LaneSum needs as rank `rank` for sums of up to `max_count` floats.
  static size_t Bytes(const shard_loader::LaneTree& tree,
                      absl::Span<const shard_loader::Range> lanes_by_rank, int rank,
                      int64_t max_count);

  // After this, calls that need up to `bytes`, over up to `ranks` ranks, do not allocate.
  void Reserve(size_t bytes, int ranks);

 private:
  friend class LaneSumCall;

  std::vector<float> floats_;
  std::vector<absl::Span<const std::byte>> send_;
  std::vector<absl::Span<std::byte>> recv_;
  std::vector<const float*> next_root_;
};

// out = the sum of all lanes. `tensor` spans the ranks that share the lanes: rank r owns
// lanes_by_rank[r], neighbouring lanes that together cover the tree once, ascending. `own_roots`
// holds one [count] buffer for each of tree.MaximalSubtrees(lanes_by_rank[tensor.rank()]), in that
// order; `out` is [count] and overlaps none of them. All ranks give the same count. The sum is
// equal, bit for bit, for every way of sharing the lanes.
//
// Errors are those of the communicator; INVALID_ARGUMENT where buffers and tree do not fit.
absl::Status LaneSum(Communicator& tensor, const shard_loader::LaneTree& tree,
                     absl::Span<const shard_loader::Range> lanes_by_rank,
                     absl::Span<const absl::Span<const float>> own_roots, absl::Span<float> out,
                     LaneSumWorkspace& workspace);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_LANE_SUM_H_
