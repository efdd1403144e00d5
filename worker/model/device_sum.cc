#include "worker/model/device_sum.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/lane_segments.h"
#include "worker/comm/lane_sum.h"

namespace tessera::worker {
namespace {

using shard_loader::LaneTree;
using shard_loader::Range;

// The roots of all ranks in the order of their lanes, and after each how many sums meet.
struct TreeWalk {
  std::vector<int> ranks;
  std::vector<int32_t> folds;
  std::vector<int64_t> roots_of;  // by rank
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
    for (const SharedLanes& sum : args.sums) {
      TreeWalk& walk = walks_.emplace_back();
      Walk(*sum.tree, sum.lanes_by_rank, 0, &walk);
      walk.roots_of.resize(size_);
      for (int rank : walk.ranks) ++walk.roots_of[rank];
    }
  }

  absl::Status Run() {
    if (args_.count == 0) return absl::OkStatus();
    const bool one_shot = columns() * sizeof(float) < kOneShotBytes;
    int64_t needed = one_shot ? 0 : FloatsOf(rank_, 0, columns());
    for (int rank = 0; rank < size_; ++rank) {
      if (rank != rank_) needed += FloatsOf(rank, one_shot ? 0 : Begin(rank_), End(one_shot));
    }
    if (static_cast<int64_t>(args_.scratch.size()) < needed) {
      return absl::InvalidArgumentError(
          absl::StrCat("device sum: ", args_.scratch.size(), " floats of scratch; needs ", needed));
    }
    return one_shot ? OneShot() : TwoShot();
  }

 private:
  int64_t columns() const { return args_.count * static_cast<int64_t>(args_.sums.size()); }
  int64_t Begin(int rank) const { return columns() * rank / size_; }
  int64_t End(bool one_shot) const { return one_shot ? columns() : Begin(rank_ + 1); }

  template <typename Fn>
  void ForSegments(int64_t begin, int64_t end, const Fn& fn) const {
    ForLaneSegments(walks_.size(), args_.count, begin, end, fn);
  }
  // What a rank sends of columns [begin, end): segment by segment, root by root.
  int64_t FloatsOf(int rank, int64_t begin, int64_t end) const {
    int64_t floats = 0;
    ForSegments(begin, end, [&](const LaneSegment& segment) {
      floats += walks_[segment.sum].roots_of[rank] * segment.size;
    });
    return floats;
  }
  const float* OwnRoots(size_t sum) const {
    const float* roots = args_.own_roots;
    for (size_t s = 0; s < sum; ++s) roots += walks_[s].roots_of[rank_] * args_.count;
    return roots;
  }

  // Every rank gathers all roots, and finishes the trees.
  absl::Status OneShot() {
    std::vector<absl::Span<std::byte>> recv;
    float* next = args_.scratch.data();
    for (int rank = 0; rank < size_; ++rank) {
      const int64_t floats = FloatsOf(rank, 0, columns());
      // A communicator only reads what is its own on both sides.
      float* to = rank == rank_ ? const_cast<float*>(args_.own_roots) : next;
      recv.push_back(BytesOf(to, floats));
      if (rank != rank_) next += floats;
    }
    RETURN_IF_ERROR(
        tensor_.AllGather(BytesOf(args_.own_roots, FloatsOf(rank_, 0, columns())), recv));
    Finish(0, columns(), args_.scratch.data());
    return absl::OkStatus();
  }

  // Every rank finishes the trees for its slice of the columns, and the slices are gathered.
  absl::Status TwoShot() {
    const int64_t begin = Begin(rank_);
    const int64_t end = Begin(rank_ + 1);
    std::vector<absl::Span<const std::byte>> send(size_);
    std::vector<absl::Span<std::byte>> recv(size_);
    float* packed = args_.scratch.data();
    float* received = packed + FloatsOf(rank_, 0, columns());
    float* next = received;
    for (int rank = 0; rank < size_; ++rank) {
      if (rank == rank_) continue;
      const float* const first = packed;
      packed = PackOwn(Begin(rank), Begin(rank + 1), packed);
      send[rank] = BytesOf(first, packed - first);
      const int64_t floats = FloatsOf(rank, begin, end);
      recv[rank] = BytesOf(next, floats);
      next += floats;
    }
    RETURN_IF_ERROR(tensor_.AllToAll(send, recv));
    Finish(begin, end, received);
    for (int rank = 0; rank < size_; ++rank) {
      recv[rank] = BytesOf(args_.output + Begin(rank), Begin(rank + 1) - Begin(rank));
    }
    return tensor_.AllGather(recv[rank_], recv);
  }

  // Returns the end of what it wrote to `to`.
  float* PackOwn(int64_t begin, int64_t end, float* to) {
    ForSegments(begin, end, [&](const LaneSegment& segment) {
      CopyRowsArgs copy;
      copy.from = OwnRoots(segment.sum) + segment.begin;
      copy.from_stride = args_.count;
      copy.to = to;
      copy.to_stride = segment.size;
      copy.num_rows = walks_[segment.sum].roots_of[rank_];
      copy.size = segment.size;
      backend_.CopyRows(copy);
      to += copy.num_rows * segment.size;
    });
    return to;
  }

  // Columns [begin, end) of all sums; what the other ranks sent of them lies at `received`.
  void Finish(int64_t begin, int64_t end, const float* received) {
    std::vector<const float*> next(size_);
    for (int rank = 0; rank < size_; ++rank) {
      next[rank] = received;
      if (rank != rank_) received += FloatsOf(rank, begin, end);
    }
    float* output = args_.output + begin;
    ForSegments(begin, end, [&](const LaneSegment& segment) {
      const TreeWalk& walk = walks_[segment.sum];
      next[rank_] = OwnRoots(segment.sum) + segment.begin;
      std::vector<const float*> roots;
      for (int rank : walk.ranks) {
        roots.push_back(next[rank]);
        next[rank] += rank == rank_ ? args_.count : segment.size;
      }
      backend_.AddTree({roots.data(), walk.folds.data(), static_cast<int32_t>(roots.size()),
                        segment.size, output});
      output += segment.size;
    });
  }

  const DeviceSumArgs& args_;
  Backend& backend_;
  Communicator& tensor_;
  const int rank_;
  const int size_;
  std::vector<TreeWalk> walks_;  // by sum
};

}  // namespace

absl::Status DeviceSum(const DeviceSumArgs& args, Backend& backend, Communicator& tensor) {
  return Call(args, backend, tensor).Run();
}

}  // namespace tessera::worker
