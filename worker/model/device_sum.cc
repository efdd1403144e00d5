#include "worker/model/device_sum.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/lane_sum.h"

namespace tessera::worker {
namespace {

using shard_loader::LaneTree;
using shard_loader::Range;

// The roots of all ranks in the order of their lanes, and after each how many sums meet.
struct TreeWalk {
  std::vector<int> ranks;
  std::vector<int32_t> folds;
};

bool Inside(const Range& inner, const Range& outer) {
  return inner.begin >= outer.begin && inner.end <= outer.end;
}

void Walk(const LaneTree& tree, absl::Span<const Range> lanes_by_rank, int node, TreeWalk* walk) {
  const shard_loader::LaneNode& at = tree.nodes()[node];
  for (size_t rank = 0; rank < lanes_by_rank.size(); ++rank) {
    if (!Inside(at.lanes, lanes_by_rank[rank])) continue;
    walk->ranks.push_back(static_cast<int>(rank));
    walk->folds.push_back(0);
    return;
  }
  Walk(tree, lanes_by_rank, at.left, walk);
  Walk(tree, lanes_by_rank, at.right, walk);
  ++walk->folds.back();
}

absl::Span<std::byte> BytesOf(float* data, int64_t count) {
  return {reinterpret_cast<std::byte*>(data), static_cast<size_t>(count) * sizeof(float)};
}
absl::Span<const std::byte> BytesOf(const float* data, int64_t count) {
  return {reinterpret_cast<const std::byte*>(data), static_cast<size_t>(count) * sizeof(float)};
}

class Call {
 public:
  Call(const DeviceSumArgs& args, Backend& backend, Communicator& tensor)
      : args_(args),
        backend_(backend),
        tensor_(tensor),
        rank_(tensor.rank()),
        size_(tensor.size()) {
    Walk(*args.tree, args.lanes_by_rank, 0, &walk_);
    roots_of_.resize(size_);
    for (int rank : walk_.ranks) ++roots_of_[rank];
  }

  absl::Status Run() {
    if (args_.count == 0) return absl::OkStatus();
    const bool one_shot = args_.count * sizeof(float) < kOneShotBytes;
    const int64_t needed = one_shot ? Others() * args_.count
                                    : roots_of_[rank_] * args_.count + Others() * Slice(rank_);
    if (static_cast<int64_t>(args_.scratch.size()) < needed) {
      return absl::InvalidArgumentError(
          absl::StrCat("device sum: ", args_.scratch.size(), " floats of scratch; needs ", needed));
    }
    return one_shot ? OneShot() : TwoShot();
  }

 private:
  int64_t Others() const { return static_cast<int64_t>(walk_.ranks.size()) - roots_of_[rank_]; }
  int64_t Begin(int rank) const { return args_.count * rank / size_; }
  int64_t Slice(int rank) const { return Begin(rank + 1) - Begin(rank); }

  // Every rank gathers all roots, and finishes the tree.
  absl::Status OneShot() {
    std::vector<absl::Span<std::byte>> recv;
    float* next = args_.scratch.data();
    for (int rank = 0; rank < size_; ++rank) {
      const int64_t floats = roots_of_[rank] * args_.count;
      // A communicator only reads what is its own on both sides.
      float* to = rank == rank_ ? const_cast<float*>(args_.own_roots) : next;
      recv.push_back(BytesOf(to, floats));
      if (rank != rank_) next += floats;
    }
    RETURN_IF_ERROR(
        tensor_.AllGather(BytesOf(args_.own_roots, roots_of_[rank_] * args_.count), recv));
    Finish(0, args_.count, args_.count, args_.scratch.data());
    return absl::OkStatus();
  }

  // Every rank finishes the tree for its slice of the columns, and the slices are gathered.
  absl::Status TwoShot() {
    const int64_t own = roots_of_[rank_];
    std::vector<absl::Span<const std::byte>> send(size_);
    std::vector<absl::Span<std::byte>> recv(size_);
    float* packed = args_.scratch.data();
    float* received = packed + own * args_.count;
    float* next = received;
    for (int rank = 0; rank < size_; ++rank) {
      if (rank == rank_) continue;
      CopyRowsArgs copy;
      copy.from = args_.own_roots + Begin(rank);
      copy.from_stride = args_.count;
      copy.to = packed;
      copy.to_stride = Slice(rank);
      copy.num_rows = own;
      copy.size = Slice(rank);
      backend_.CopyRows(copy);
      send[rank] = BytesOf(packed, own * Slice(rank));
      packed += own * Slice(rank);
      recv[rank] = BytesOf(next, roots_of_[rank] * Slice(rank_));
      next += roots_of_[rank] * Slice(rank_);
    }
    RETURN_IF_ERROR(tensor_.AllToAll(send, recv));
    Finish(Begin(rank_), Slice(rank_), Slice(rank_), received);
    for (int rank = 0; rank < size_; ++rank) {
      recv[rank] = BytesOf(args_.output + Begin(rank), Slice(rank));
    }
    return tensor_.AllGather(recv[rank_], recv);
  }

  // Columns [begin, begin + size) of the tree. The other ranks' roots lie at `received`, `stride`
  // floats apart.
  void Finish(int64_t begin, int64_t size, int64_t stride, const float* received) {
    std::vector<const float*> next(size_);
    const float* from = received;
    for (int rank = 0; rank < size_; ++rank) {
      next[rank] = from;
      if (rank != rank_) from += roots_of_[rank] * stride;
    }
    next[rank_] = args_.own_roots + begin;
    std::vector<const float*> roots;
    for (int rank : walk_.ranks) {
      roots.push_back(next[rank]);
      next[rank] += rank == rank_ ? args_.count : stride;
    }
    backend_.AddTree({roots.data(), walk_.folds.data(), static_cast<int32_t>(roots.size()), size,
                      args_.output + begin});
  }

  const DeviceSumArgs& args_;
  Backend& backend_;
  Communicator& tensor_;
  const int rank_;
  const int size_;
  TreeWalk walk_;
  std::vector<int64_t> roots_of_;  // index: rank
};

}  // namespace

absl::Status DeviceSum(const DeviceSumArgs& args, Backend& backend, Communicator& tensor) {
  return Call(args, backend, tensor).Run();
}

}  // namespace tessera::worker
