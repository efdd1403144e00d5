#include "worker/comm/lane_sum.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/lane_segments.h"

namespace tessera::worker {
namespace {

using shard_loader::LaneNode;
using shard_loader::LaneTree;
using shard_loader::Range;

// Columns added at a time: what is in flight of a tree stays in the first cache.
constexpr int64_t kBlock = 1024;
// Of a parallel residual: attention and MLP.
constexpr size_t kMostParts = 2;

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
  int64_t recv = 0;     // floats received, at most
  int64_t scratch = 0;  // floats for a tree's inner nodes
};

bool IsOneShot(int64_t columns) {
  return static_cast<size_t>(columns) * sizeof(float) < kOneShotBytes;
}

Needs FloatsNeeded(absl::Span<const SharedLanes> sums, int rank, int64_t count) {
  const int64_t size = static_cast<int64_t>(sums[0].lanes_by_rank.size());
  const int64_t columns = count * static_cast<int64_t>(sums.size());
  int64_t own = 0, others = 0, most_others = 0, depth = 0;
  for (const SharedLanes& sum : sums) {
    int64_t theirs = 0;
    for (int r = 0; r < size; ++r) {
      const int roots = CountRoots(*sum.tree, 0, sum.lanes_by_rank[r]);
      (r == rank ? own : theirs) += roots;
    }
    others += theirs;
    most_others = std::max(most_others, theirs);
    depth = std::max<int64_t>(depth, Depth(*sum.tree, 0));
  }
  Needs needs;
  if (size > 1) {
    needs.send = own * count;
    needs.recv = IsOneShot(columns) ? others * count : most_others * ((columns + size - 1) / size);
  }
  needs.scratch = (depth + 1) * kBlock;
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
  LaneSumCall(Communicator& tensor, absl::Span<const LaneSumPart> parts, int64_t count,
              LaneSumWorkspace& workspace)
      : tensor_(tensor),
        parts_(parts),
        count_(count),
        workspace_(workspace),
        rank_(tensor.rank()),
        size_(tensor.size()) {}

  absl::Status Check() const;
  absl::Status OneShot(absl::Span<float> out);
  absl::Status TwoShot(absl::Span<float> out);
  // Without peers: the trees over own buffers alone.
  void Alone(absl::Span<float> out);

 private:
  absl::Status CheckPart(const LaneSumPart& part) const;
  void Prepare();
  int64_t columns() const { return count_ * static_cast<int64_t>(parts_.size()); }
  int RootsOf(size_t part, int rank) const {
    return CountRoots(*parts_[part].lanes.tree, 0, parts_[part].lanes.lanes_by_rank[rank]);
  }
  // What a rank sends of columns [begin, end): segment by segment, root by root.
  int64_t FloatsOf(int rank, int64_t begin, int64_t end) const;
  absl::Span<const float> PackOwn(int64_t begin, int64_t end, float* to) const;
  // Adds columns [begin, end) of all parts into `out`, from own buffers and what was received.
  void Finish(int64_t begin, int64_t end, float* out);
  void FinishSegment(const LaneSegment& segment, float* out);
  // The sum of `node` over a block: either a buffer that holds it already, or `into`.
  const float* Add(int node, int64_t n, float* into, float* scratch);
  const float* NextRoot(int rank);

  Communicator& tensor_;
  const absl::Span<const LaneSumPart> parts_;
  const int64_t count_;
  LaneSumWorkspace& workspace_;
  const int rank_;
  const int size_;

  float* packed_ = nullptr;
  float* received_ = nullptr;
  float* scratch_ = nullptr;
  LaneSegment segment_;  // that is being added
  int64_t column_ = 0;   // of its block
  size_t next_own_ = 0;
};

absl::Status LaneSumCall::Check() const {
  for (const LaneSumPart& part : parts_) RETURN_IF_ERROR(CheckPart(part));
  return absl::OkStatus();
}

absl::Status LaneSumCall::CheckPart(const LaneSumPart& part) const {
  const absl::Span<const Range> lanes_by_rank = part.lanes.lanes_by_rank;
  const LaneTree& tree = *part.lanes.tree;
  if (static_cast<int>(lanes_by_rank.size()) != size_) {
    return absl::InvalidArgumentError(absl::StrCat("lane sum: lanes are shared by ",
                                                   lanes_by_rank.size(), " ranks, but ", size_,
                                                   " take part"));
  }
  int64_t next = 0;
  for (const Range& lanes : lanes_by_rank) {
    if (lanes.begin != next || lanes.end < lanes.begin) next = -1;
    if (next >= 0) next = lanes.end;
  }
  if (next != tree.num_lanes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "lane sum: the ranks' lanes do not cover the tree's ", tree.num_lanes(), " lanes once"));
  }
  const int roots = CountRoots(tree, 0, lanes_by_rank[rank_]);
  if (static_cast<int>(part.own_roots.size()) != roots) {
    return absl::InvalidArgumentError(absl::StrCat("lane sum: rank ", rank_, " gave ",
                                                   part.own_roots.size(),
                                                   " partial sums, its lanes have ", roots));
  }
  for (absl::Span<const float> root : part.own_roots) {
    if (static_cast<int64_t>(root.size()) != count_) {
      return absl::InvalidArgumentError(absl::StrCat("lane sum: a partial sum of ", root.size(),
                                                     " floats, the result has ", count_));
    }
  }
  return absl::OkStatus();
}

void LaneSumCall::Prepare() {
  std::array<SharedLanes, kMostParts> sums;
  for (size_t p = 0; p < parts_.size(); ++p) sums[p] = parts_[p].lanes;
  const Needs needs = FloatsNeeded(absl::MakeConstSpan(sums).first(parts_.size()), rank_, count_);
  workspace_.Reserve(Total(needs) * sizeof(float), size_);
  packed_ = workspace_.floats_.data();
  received_ = packed_ + needs.send;
  scratch_ = received_ + needs.recv;
}

int64_t LaneSumCall::FloatsOf(int rank, int64_t begin, int64_t end) const {
  int64_t floats = 0;
  ForLaneSegments(parts_.size(), count_, begin, end, [&](const LaneSegment& segment) {
    floats += RootsOf(segment.sum, rank) * segment.size;
  });
  return floats;
}

absl::Span<const float> LaneSumCall::PackOwn(int64_t begin, int64_t end, float* to) const {
  float* next = to;
  ForLaneSegments(parts_.size(), count_, begin, end, [&](const LaneSegment& segment) {
    for (absl::Span<const float> root : parts_[segment.sum].own_roots) {
      std::memcpy(next, root.data() + segment.begin, segment.size * sizeof(float));
      next += segment.size;
    }
  });
  return {to, static_cast<size_t>(next - to)};
}

const float* LaneSumCall::NextRoot(int rank) {
  if (rank == rank_) {
    return parts_[segment_.sum].own_roots[next_own_++].data() + segment_.begin + column_;
  }
  const float* root = workspace_.next_root_[rank];
  workspace_.next_root_[rank] += segment_.size;
  return root + column_;
}

const float* LaneSumCall::Add(int node, int64_t n, float* into, float* scratch) {
  const SharedLanes& lanes = parts_[segment_.sum].lanes;
  const LaneNode& tree_node = lanes.tree->nodes()[node];
  const int owner = Owner(lanes.lanes_by_rank, tree_node.lanes);
  if (owner >= 0) return NextRoot(owner);
  const float* left = Add(tree_node.left, n, into, scratch);
  const float* right = Add(tree_node.right, n, scratch, scratch + kBlock);
  for (int64_t i = 0; i < n; ++i) into[i] = left[i] + right[i];
  return into;
}

void LaneSumCall::FinishSegment(const LaneSegment& segment, float* out) {
  segment_ = segment;
  for (column_ = 0; column_ < segment.size; column_ += kBlock) {
    const int64_t block = std::min(kBlock, segment.size - column_);
    next_own_ = 0;
    std::copy_n(workspace_.first_root_.begin(), size_, workspace_.next_root_.begin());
    const float* sum = Add(0, block, out + column_, scratch_);
    if (sum != out + column_) std::memcpy(out + column_, sum, block * sizeof(float));
  }
}

void LaneSumCall::Finish(int64_t begin, int64_t end, float* out) {
  const float* from = received_;
  for (int r = 0; r < size_; ++r) {
    workspace_.first_root_[r] = from;
    if (r != rank_) from += FloatsOf(r, begin, end);
  }
  ForLaneSegments(parts_.size(), count_, begin, end, [&](const LaneSegment& segment) {
    FinishSegment(segment, out);
    out += segment.size;
    for (int r = 0; r < size_; ++r) {
      workspace_.first_root_[r] += RootsOf(segment.sum, r) * segment.size;
    }
  });
}

void LaneSumCall::Alone(absl::Span<float> out) {
  Prepare();
  Finish(0, columns(), out.data());
}

absl::Status LaneSumCall::OneShot(absl::Span<float> out) {
  Prepare();
  const absl::Span<const float> own = PackOwn(0, columns(), packed_);
  float* from = received_;
  for (int r = 0; r < size_; ++r) {
    const int64_t floats = FloatsOf(r, 0, columns());
    workspace_.recv_[r] =
        AsWritableBytes({r == rank_ ? packed_ : from, static_cast<size_t>(floats)});
    if (r != rank_) from += floats;
  }
  RETURN_IF_ERROR(
      tensor_.AllGather(AsBytes(own), absl::MakeConstSpan(workspace_.recv_).first(size_)));
  Finish(0, columns(), out.data());
  return absl::OkStatus();
}

absl::Status LaneSumCall::TwoShot(absl::Span<float> out) {
  Prepare();
  const auto begin_of = [&](int rank) { return SliceBegin(columns(), rank, size_); };
  const int64_t begin = begin_of(rank_);
  const int64_t end = begin_of(rank_ + 1);
  const bool one_root = parts_.size() == 1 && parts_[0].own_roots.size() == 1;
  float* packed = packed_;
  float* from = received_;
  for (int r = 0; r < size_; ++r) {
    workspace_.send_[r] = {};
    workspace_.recv_[r] = {};
    if (r == rank_) continue;
    absl::Span<const float> send;
    if (one_root) {
      send = parts_[0].own_roots[0].subspan(begin_of(r), begin_of(r + 1) - begin_of(r));
    } else {
      send = PackOwn(begin_of(r), begin_of(r + 1), packed);
      packed += send.size();
    }
    workspace_.send_[r] = AsBytes(send);
    const int64_t floats = FloatsOf(r, begin, end);
    workspace_.recv_[r] = AsWritableBytes({from, static_cast<size_t>(floats)});
    from += floats;
  }
  RETURN_IF_ERROR(tensor_.AllToAll(absl::MakeConstSpan(workspace_.send_).first(size_),
                                   absl::MakeConstSpan(workspace_.recv_).first(size_)));
  Finish(begin, end, out.data() + begin);
  for (int r = 0; r < size_; ++r) {
    workspace_.recv_[r] = AsWritableBytes(out.subspan(begin_of(r), begin_of(r + 1) - begin_of(r)));
  }
  return tensor_.AllGather(workspace_.recv_[rank_],
                           absl::MakeConstSpan(workspace_.recv_).first(size_));
}

size_t LaneSumWorkspace::Bytes(absl::Span<const SharedLanes> sums, int rank, int64_t max_count) {
  const int64_t parts = static_cast<int64_t>(sums.size());
  const int64_t one_shot_max = (static_cast<int64_t>(kOneShotBytes / sizeof(float)) - 1) / parts;
  int64_t floats = Total(FloatsNeeded(sums, rank, max_count));
  if (max_count > one_shot_max) {
    floats = std::max(floats, Total(FloatsNeeded(sums, rank, one_shot_max)));
  }
  return floats * sizeof(float);
}

void LaneSumWorkspace::Reserve(size_t bytes, int ranks) {
  const size_t floats = (bytes + sizeof(float) - 1) / sizeof(float);
  if (floats_.size() < floats) floats_.resize(floats);
  if (static_cast<int>(send_.size()) < ranks) {
    send_.resize(ranks);
    recv_.resize(ranks);
    first_root_.resize(ranks);
    next_root_.resize(ranks);
  }
}

absl::Status LaneSums(Communicator& tensor, absl::Span<const LaneSumPart> parts,
                      absl::Span<float> out, LaneSumWorkspace& workspace) {
  if (parts.empty() || parts.size() > kMostParts || out.size() % parts.size() != 0) {
    return absl::InvalidArgumentError(absl::StrCat("lane sum: ", parts.size(), " parts in ",
                                                   out.size(), " floats; 1 to ", kMostParts,
                                                   " of one size are summed at a time"));
  }
  LaneSumCall call(tensor, parts, static_cast<int64_t>(out.size() / parts.size()), workspace);
  RETURN_IF_ERROR(call.Check());
  if (out.empty()) return absl::OkStatus();  // for every rank alike
  if (tensor.size() == 1) {
    call.Alone(out);
    return absl::OkStatus();
  }
  return IsOneShot(static_cast<int64_t>(out.size())) ? call.OneShot(out) : call.TwoShot(out);
}

absl::Status LaneSum(Communicator& tensor, const LaneTree& tree,
                     absl::Span<const Range> lanes_by_rank,
                     absl::Span<const absl::Span<const float>> own_roots, absl::Span<float> out,
                     LaneSumWorkspace& workspace) {
  const LaneSumPart part = {.lanes = {&tree, lanes_by_rank}, .own_roots = own_roots};
  return LaneSums(tensor, absl::MakeConstSpan(&part, 1), out, workspace);
}

}  // namespace tessera::worker
