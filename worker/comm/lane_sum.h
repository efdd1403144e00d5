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

// Results of fewer bytes than this go one-shot: every rank gathers all partial sums and finishes
// the trees. Larger ones go two-shot: each rank finishes the trees for its slice of the columns (of
// all parts in a row), and the slices are gathered.
inline constexpr size_t kOneShotBytes = 32 << 10;

// How the ranks share a sum: rank r owns lanes_by_rank[r], neighbouring lanes that together cover
// the tree once, ascending.
struct SharedLanes {
  const shard_loader::LaneTree* tree = nullptr;
  absl::Span<const shard_loader::Range> lanes_by_rank;
};

// Memory that LaneSums reuses between calls; it grows to the largest call seen. Thread-compatible.
class LaneSumWorkspace {
 public:
  // The bytes that LaneSums needs as rank `rank` for sums of up to `max_count` floats each.
  static size_t Bytes(absl::Span<const SharedLanes> sums, int rank, int64_t max_count);

  // After this, calls that need up to `bytes`, over up to `ranks` ranks, do not allocate.
  void Reserve(size_t bytes, int ranks);

 private:
  friend class LaneSumCall;

  std::vector<float> floats_;
  std::vector<absl::Span<const std::byte>> send_;
  std::vector<absl::Span<std::byte>> recv_;
  std::vector<const float*> first_root_;
  std::vector<const float*> next_root_;
};

struct LaneSumPart {
  SharedLanes lanes;
  // One [count] buffer for each of tree.MaximalSubtrees(lanes_by_rank[rank]), in that order.
  absl::Span<const absl::Span<const float>> own_roots;
};

// out[p] = the sum of all lanes of part p, each along its own tree: all parts side by side in one
// exchange. `tensor` spans the ranks that share the lanes; `out` is [parts, count] and overlaps no
// root. All ranks give the same parts and count. The sums are equal, bit for bit, for every way of
// sharing the lanes, and to those of a call for each part.
//
// Errors are those of the communicator; INVALID_ARGUMENT where buffers and trees do not fit.
absl::Status LaneSums(Communicator& tensor, absl::Span<const LaneSumPart> parts,
                      absl::Span<float> out, LaneSumWorkspace& workspace);

// Of one part.
absl::Status LaneSum(Communicator& tensor, const shard_loader::LaneTree& tree,
                     absl::Span<const shard_loader::Range> lanes_by_rank,
                     absl::Span<const absl::Span<const float>> own_roots, absl::Span<float> out,
                     LaneSumWorkspace& workspace);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_LANE_SUM_H_
