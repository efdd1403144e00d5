#include "worker/comm/lane_sum.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

using shard_loader::LaneNode;
using shard_loader::LaneTree;
using shard_loader::Range;

// Columns added at a time: what is in flight of a tree stays in the first cache.
constexpr int64_t kBlock = 1024;

bool Inside(const Range& inner, const Range& outer) {
  return inner.begin >= outer.begin && inner.end <= outer.end;
}

// The number of maximal subtrees below `node` wholly inside `lanes`.
int CountRoots(const LaneTree& tree, int node, const Range& lanes) {
  const LaneNode& n = tree.nodes()[node];
  if (n.lanes.end <= lanes.begin || n.lanes.begin >= lanes.end) return 0;
  if (Inside(n.lanes, lanes)) return 1;
  if (n.left < 0) return 0;
  return CountRoots(tree, n.left, lanes) + CountRoots(tree, n.right, lanes);
}

int Depth(const LaneTree& tree, int node) {
  const LaneNode& n = tree.nodes()[node];
  if (n.left < 0) return 0;
  return 1 + std::max(Depth(tree, n.left), Depth(tree, n.right));
}

// The rank whose lanes hold all of `lanes`, or -1 where they are shared.
int Owner(absl::Span<const Range> lanes_by_rank, const Range& lanes) {
  for (size_t r = 0; r < lanes_by_rank.size(); ++r) {
    if (Inside(lanes, lanes_by_rank[r])) return static_cast<int>(r);
  }
  return -1;
}

int64_t SliceBegin(int64_t count, int rank, int size) { return count * rank / size; }

struct Needs {
  int64_t send = 0;     // floats packed for sending
  int64_t recv = 0;     // floats received
  int64_t scratch = 0;  // floats for the tree's inner nodes
};

Needs FloatsNeeded(const LaneTree& tree, absl::Span<const Range> lanes_by_rank, int rank,
                   int64_t count) {
  const int size = static_cast<int>(lanes_by_rank.size());
  int others = 0;
  for (int r = 0; r < size; ++r) {
    if (r != rank) others += CountRoots(tree, 0, lanes_by_rank[r]);
  }
  const int own = CountRoots(tree, 0, lanes_by_rank[rank]);
  const bool one_shot = count * sizeof(float) < kOneShotBytes;
  Needs needs;
  if (size > 1) {
    needs.send = own * count;
    needs.recv = others * (one_shot ? count : (count + size - 1) / size);
  }
  needs.scratch = (Depth(tree, 0) + 1) * kBlock;
  return needs;
}

int64_t Total(const Needs& needs) { return needs.send + needs.recv + needs.scratch; }

template <typename T>
absl::Span<const std::byte> AsBytes(absl::Span<T> floats) {
  return {reinterpret_cast<const std::byte*>(floats.data()), floats.size() * sizeof(T)};
}

absl::Span<std::byte> AsWritableBytes(absl::Span<float> floats) {
  return {reinterpret_cast<std::byte*>(floats.data()), floats.size() * sizeof(float)};
}

}  // namespace

// One call: the arguments, and the pieces of the workspace that it uses.
class LaneSumCall {
 public:
  LaneSumCall(Communicator& tensor, const LaneTree& tree, absl::Span<const Range> lanes_by_rank,
              absl::Span<const absl::Span<const float>> own_roots, LaneSumWorkspace& workspace)
      : tensor_(tensor),
        tree_(tree),
        lanes_by_rank_(lanes_by_rank),
        own_roots_(own_roots),
        workspace_(workspace),
        rank_(tensor.rank()),
        size_(tensor.size()) {}

  absl::Status Check(int64_t count) const;
  absl::Status OneShot(absl::Span<float> out);
  absl::Status TwoShot(absl::Span<float> out);
  // Without peers: the tree over own buffers alone.
  void Alone(absl::Span<float> out);

 private:
  // Where the roots of every rank lie: root i of rank r begins at base[r] + i * stride(r).
  void Prepare(int64_t count);
  // Adds columns [0, n) of the tree into `out`; `skip` is the first column within own buffers.
  void Finish(int64_t skip, int64_t n, float* out);
  // The sum of `node` over a block: either a buffer that holds it already, or `into`.
  const float* Add(int node, int64_t n, float* into, float* scratch);
  const float* NextRoot(int rank);

  Communicator& tensor_;
  const LaneTree& tree_;
  absl::Span<const Range> lanes_by_rank_;
  absl::Span<const absl::Span<const float>> own_roots_;
  LaneSumWorkspace& workspace_;
  const int rank_;
  const int size_;

  float* packed_ = nullptr;
  float* received_ = nullptr;
  float* scratch_ = nullptr;
  int64_t stride_ = 0;  // floats between the received roots of one rank
  int64_t column_ = 0;  // of the block being added
  int64_t skip_ = 0;
  size_t next_own_ = 0;
};

absl::Status LaneSumCall::Check(int64_t count) const {
  if (static_cast<int>(lanes_by_rank_.size()) != size_) {
    return absl::InvalidArgumentError(absl::StrCat("lane sum: lanes are shared by ",
                                                   lanes_by_rank_.size(), " ranks, but ", size_,
                                                   " take part"));
  }
  int64_t next = 0;
  for (const Range& lanes : lanes_by_rank_) {
    if (lanes.begin != next || lanes.end < lanes.begin) next = -1;
    if (next >= 0) next = lanes.end;
  }
  if (next != tree_.num_lanes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "lane sum: the ranks' lanes do not cover the tree's ", tree_.num_lanes(), " lanes once"));
  }
  const int roots = CountRoots(tree_, 0, lanes_by_rank_[rank_]);
  if (static_cast<int>(own_roots_.size()) != roots) {
    return absl::InvalidArgumentError(absl::StrCat("lane sum: rank ", rank_, " gave ",
                                                   own_roots_.size(),
                                                   " partial sums, its lanes have ", roots));
  }
  for (absl::Span<const float> root : own_roots_) {
    if (static_cast<int64_t>(root.size()) != count) {
      return absl::InvalidArgumentError(absl::StrCat("lane sum: a partial sum of ", root.size(),
                                                     " floats, the result has ", count));
    }
  }
  return absl::OkStatus();
}

void LaneSumCall::Prepare(int64_t count) {
  const Needs needs = FloatsNeeded(tree_, lanes_by_rank_, rank_, count);
  workspace_.Reserve(Total(needs) * sizeof(float), size_);
  packed_ = workspace_.floats_.data();
  received_ = packed_ + needs.send;
  scratch_ = received_ + needs.recv;
}

const float* LaneSumCall::NextRoot(int rank) {
  if (rank == rank_) return own_roots_[next_own_++].data() + skip_ + column_;
  const float* root = workspace_.next_root_[rank];
  workspace_.next_root_[rank] += stride_;
  return root + column_;
}

const float* LaneSumCall::Add(int node, int64_t n, float* into, float* scratch) {
  const LaneNode& tree_node = tree_.nodes()[node];
  const int owner = Owner(lanes_by_rank_, tree_node.lanes);
  if (owner >= 0) return NextRoot(owner);
  const float* left = Add(tree_node.left, n, into, scratch);
  const float* right = Add(tree_node.right, n, scratch, scratch + kBlock);
  for (int64_t i = 0; i < n; ++i) into[i] = left[i] + right[i];
  return into;
}

void LaneSumCall::Finish(int64_t skip, int64_t n, float* out) {
  skip_ = skip;
  for (column_ = 0; column_ < n; column_ += kBlock) {
    const int64_t block = std::min(kBlock, n - column_);
    next_own_ = 0;
    const float* from = received_;
    for (int r = 0; r < size_; ++r) {
      workspace_.next_root_[r] = from;
      if (r != rank_) from += stride_ * CountRoots(tree_, 0, lanes_by_rank_[r]);
    }
    const float* sum = Add(0, block, out + column_, scratch_);
    if (sum != out + column_) std::memcpy(out + column_, sum, block * sizeof(float));
  }
}

void LaneSumCall::Alone(absl::Span<float> out) {
  Prepare(out.size());
  Finish(0, out.size(), out.data());
}

absl::Status LaneSumCall::OneShot(absl::Span<float> out) {
  const int64_t count = out.size();
  Prepare(count);
  stride_ = count;
  float* packed = packed_;
  for (absl::Span<const float> root : own_roots_) {
    std::memcpy(packed, root.data(), count * sizeof(float));
    packed += count;
  }
  const absl::Span<float> own(packed_, packed - packed_);
  float* from = received_;
  for (int r = 0; r < size_; ++r) {
    const int64_t floats = count * CountRoots(tree_, 0, lanes_by_rank_[r]);
    workspace_.recv_[r] = AsWritableBytes(r == rank_ ? own : absl::Span<float>(from, floats));
    if (r != rank_) from += floats;
  }
  RETURN_IF_ERROR(
      tensor_.AllGather(AsBytes(own), absl::MakeConstSpan(workspace_.recv_).first(size_)));
  Finish(0, count, out.data());
  return absl::OkStatus();
}

absl::Status LaneSumCall::TwoShot(absl::Span<float> out) {
  const int64_t count = out.size();
  Prepare(count);
  const int64_t begin = SliceBegin(count, rank_, size_);
  const int64_t slice = SliceBegin(count, rank_ + 1, size_) - begin;
  stride_ = slice;
  float* packed = packed_;
  float* from = received_;
  for (int r = 0; r < size_; ++r) {
    workspace_.send_[r] = {};
    workspace_.recv_[r] = {};
    if (r == rank_) continue;
    const int64_t their_begin = SliceBegin(count, r, size_);
    const int64_t their_slice = SliceBegin(count, r + 1, size_) - their_begin;
    if (own_roots_.size() == 1) {
      workspace_.send_[r] = AsBytes(own_roots_[0].subspan(their_begin, their_slice));
    } else {
      const float* first = packed;
      for (absl::Span<const float> root : own_roots_) {
        std::memcpy(packed, root.data() + their_begin, their_slice * sizeof(float));
        packed += their_slice;
      }
      workspace_.send_[r] = AsBytes(absl::Span<const float>(first, packed - first));
    }
    const int64_t floats = slice * CountRoots(tree_, 0, lanes_by_rank_[r]);
    workspace_.recv_[r] = AsWritableBytes(absl::Span<float>(from, floats));
    from += floats;
  }
  RETURN_IF_ERROR(tensor_.AllToAll(absl::MakeConstSpan(workspace_.send_).first(size_),
                                   absl::MakeConstSpan(workspace_.recv_).first(size_)));
  Finish(begin, slice, out.data() + begin);
  for (int r = 0; r < size_; ++r) {
    const int64_t from_column = SliceBegin(count, r, size_);
    workspace_.recv_[r] =
        AsWritableBytes(out.subspan(from_column, SliceBegin(count, r + 1, size_) - from_column));
  }
  return tensor_.AllGather(workspace_.recv_[rank_],
                           absl::MakeConstSpan(workspace_.recv_).first(size_));
}

size_t LaneSumWorkspace::Bytes(const LaneTree& tree, absl::Span<const Range> lanes_by_rank,
                               int rank, int64_t max_count) {
  const int64_t one_shot_max = static_cast<int64_t>(kOneShotBytes / sizeof(float)) - 1;
  int64_t floats = Total(FloatsNeeded(tree, lanes_by_rank, rank, max_count));
  if (max_count > one_shot_max) {
    floats = std::max(floats, Total(FloatsNeeded(tree, lanes_by_rank, rank, one_shot_max)));
  }
  return floats * sizeof(float);
}

void LaneSumWorkspace::Reserve(size_t bytes, int ranks) {
  const size_t floats = (bytes + sizeof(float) - 1) / sizeof(float);
  if (floats_.size() < floats) floats_.resize(floats);
  if (static_cast<int>(send_.size()) < ranks) {
    send_.resize(ranks);
    recv_.resize(ranks);
    next_root_.resize(ranks);
  }
}

absl::Status LaneSum(Communicator& tensor, const LaneTree& tree,
                     absl::Span<const Range> lanes_by_rank,
                     absl::Span<const absl::Span<const float>> own_roots, absl::Span<float> out,
                     LaneSumWorkspace& workspace) {
  LaneSumCall call(tensor, tree, lanes_by_rank, own_roots, workspace);
  RETURN_IF_ERROR(call.Check(out.size()));
  if (out.empty()) return absl::OkStatus();  // for every rank alike
  if (tensor.size() == 1) {
    call.Alone(out);
    return absl::OkStatus();
  }
  return out.size() * sizeof(float) < kOneShotBytes ? call.OneShot(out) : call.TwoShot(out);
}

}  // namespace tessera::worker
