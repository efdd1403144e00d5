#include "tests/conformance/comm/cases.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/lane_sum.h"
#include "worker/comm/pair_test.h"

namespace tessera::tests {
namespace {

using shard_loader::LaneTree;
using shard_loader::Range;
using worker::Communicator;
using worker::GroupComms;
using Bytes = std::vector<std::byte>;

absl::Status Wrong(const std::string& what) { return absl::InternalError(what); }

// Bytes that tell sender, receiver and message apart.
Bytes Pattern(size_t size, int from, int to, int salt) {
  Bytes bytes(size);
  uint64_t state = 0x9E3779B97F4A7C15u * (from * 1009 + to * 101 + salt + 1);
  for (size_t at = 0; at < size; at += sizeof(state)) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t word = state ^ (state >> 33);
    std::memcpy(bytes.data() + at, &word, std::min(sizeof(word), size - at));
  }
  return bytes;
}

// Sizes around every border of the transports: nothing, one, headers, pages, rings, frames.
const std::vector<size_t> kSizes = {0,     1,     15,    16,    17,     4095,   8192,   16368,
                                    32768, 65519, 65536, 65553, 131072, 262161, 3 << 20};

absl::Status GatherOnce(Communicator& comm, const std::vector<size_t>& sizes, int salt) {
  std::vector<Bytes> into(comm.size());
  std::vector<absl::Span<std::byte>> recv(comm.size());
  for (int r = 0; r < comm.size(); ++r) {
    into[r].resize(sizes[r]);
    recv[r] = absl::MakeSpan(into[r]);
  }
  const Bytes own = Pattern(sizes[comm.rank()], comm.rank(), 0, salt);
  RETURN_IF_ERROR(comm.AllGather(own, recv));
  for (int r = 0; r < comm.size(); ++r) {
    if (into[r] != Pattern(sizes[r], r, 0, salt)) {
      return Wrong(absl::StrCat("all-gather of ", sizes[r], " bytes: rank ", comm.rank(),
                                " got other bytes from rank ", r));
    }
  }
  return absl::OkStatus();
}

absl::Status GathersEqualSizes(GroupComms& comms) {
  int salt = 0;
  for (Communicator* comm : {comms.group.get(), comms.tensor.get()}) {
    for (size_t size : kSizes) {
      RETURN_IF_ERROR(GatherOnce(*comm, std::vector<size_t>(comm->size(), size), ++salt));
    }
  }
  return absl::OkStatus();
}

absl::Status GathersUnevenSizes(GroupComms& comms) {
  for (int round = 0; round < 14; ++round) {
    for (Communicator* comm : {comms.group.get(), comms.tensor.get()}) {
      std::vector<size_t> sizes;
      for (int r = 0; r < comm->size(); ++r) sizes.push_back(kSizes[(r * 5 + round) % 14]);
      RETURN_IF_ERROR(GatherOnce(*comm, sizes, round));
    }
  }
  return absl::OkStatus();
}

absl::Status GathersInPlace(GroupComms& comms) {
  Communicator& comm = *comms.group;
  const size_t size = 10000;
  Bytes all(size * comm.size());
  std::vector<absl::Span<std::byte>> recv;
  for (int r = 0; r < comm.size(); ++r) {
    recv.push_back(absl::MakeSpan(all).subspan(r * size, size));
  }
  const Bytes own = Pattern(size, comm.rank(), 0, 7);
  std::memcpy(recv[comm.rank()].data(), own.data(), size);
  RETURN_IF_ERROR(comm.AllGather(recv[comm.rank()], recv));
  for (int r = 0; r < comm.size(); ++r) {
    if (std::memcmp(recv[r].data(), Pattern(size, r, 0, 7).data(), size) != 0) {
      return Wrong("an all-gather in place changed the bytes");
    }
  }
  return absl::OkStatus();
}

absl::Status ExchangesAllToAll(GroupComms& comms) {
  for (int round = 0; round < 14; ++round) {
    for (Communicator* comm : {comms.tensor.get(), comms.group.get()}) {
      const int n = comm->size();
      auto size = [&](int from, int to) { return kSizes[(from * 3 + to * 7 + round) % 14]; };
      std::vector<Bytes> out(n), in(n);
      std::vector<absl::Span<const std::byte>> send(n);
      std::vector<absl::Span<std::byte>> recv(n);
      for (int r = 0; r < n; ++r) {
        out[r] = Pattern(size(comm->rank(), r), comm->rank(), r, round);
        in[r].resize(size(r, comm->rank()));
        send[r] = out[r];
        recv[r] = absl::MakeSpan(in[r]);
      }
      RETURN_IF_ERROR(comm->AllToAll(send, recv));
      for (int r = 0; r < n; ++r) {
        if (in[r] != Pattern(size(r, comm->rank()), r, comm->rank(), round)) {
          return Wrong(
              absl::StrCat("all-to-all: rank ", comm->rank(), " got other bytes from rank ", r));
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status SendsInOrder(GroupComms& comms) {
  Communicator& comm = *comms.group;
  const int next = (comm.rank() + 1) % comm.size();
  const int before = (comm.rank() + comm.size() - 1) % comm.size();
  // Even ranks send first: large messages may wait for their receiver.
  for (size_t i = 0; i < kSizes.size(); ++i) {
    const Bytes out = Pattern(kSizes[i], comm.rank(), next, i);
    Bytes in(kSizes[i]);
    const bool first = comm.rank() % 2 == 0;
    if (first) RETURN_IF_ERROR(comm.Send(next, i, out));
    RETURN_IF_ERROR(comm.Recv(before, i, absl::MakeSpan(in)));
    if (!first) RETURN_IF_ERROR(comm.Send(next, i, out));
    if (in != Pattern(kSizes[i], before, comm.rank(), i)) {
      return Wrong(absl::StrCat("message ", i, " came with other bytes"));
    }
  }
  return absl::OkStatus();
}

absl::Status SmallSendsDoNotWait(GroupComms& comms) {
  Communicator& comm = *comms.group;
  const size_t size = 1000;
  const int count = worker::kEagerBytes / (size + 16);
  for (int i = 0; i < count; ++i) {
    for (int peer = 0; peer < comm.size(); ++peer) {
      if (peer == comm.rank()) continue;
      RETURN_IF_ERROR(comm.Send(peer, 100 + i, Pattern(size, comm.rank(), peer, i)));
    }
  }
  // Collectives of both communicators pass the messages that nobody has received yet.
  RETURN_IF_ERROR(comm.Barrier());
  RETURN_IF_ERROR(GatherOnce(*comms.tensor, std::vector<size_t>(comms.tensor->size(), 200000), 3));
  for (int peer = 0; peer < comm.size(); ++peer) {
    for (int i = 0; i < count && peer != comm.rank(); ++i) {
      Bytes in(size);
      RETURN_IF_ERROR(comm.Recv(peer, 100 + i, absl::MakeSpan(in)));
      if (in != Pattern(size, peer, comm.rank(), i)) return Wrong("messages changed their order");
    }
  }
  return absl::OkStatus();
}

absl::Status RunsAPipeline(GroupComms& comms) {
  Communicator& comm = *comms.group;
  const int tp = comms.tensor->size();
  const int stages = comm.size() / tp;
  const int stage = comm.rank() / tp;
  for (uint64_t step = 0; step < 20; ++step) {
    Bytes hidden = Pattern(300000, 0, 0, step);
    if (stage > 0) {
      Bytes in(hidden.size());
      RETURN_IF_ERROR(comm.Recv(comm.rank() - tp, step, absl::MakeSpan(in)));
      if (in != hidden) return Wrong("hidden states changed between stages");
    }
    RETURN_IF_ERROR(GatherOnce(*comms.tensor, std::vector<size_t>(tp, 4096), step));
    if (stage + 1 < stages) RETURN_IF_ERROR(comm.Send(comm.rank() + tp, step, hidden));
    if (stages == 1) continue;
    Bytes ids(64);
    if (stage + 1 == stages) {
      RETURN_IF_ERROR(comm.Send(comm.rank() % tp, step, Pattern(64, 1, 1, step)));
    } else if (stage == 0) {
      RETURN_IF_ERROR(comm.Recv((stages - 1) * tp + comm.rank(), step, absl::MakeSpan(ids)));
      if (ids != Pattern(64, 1, 1, step)) return Wrong("the ids of a step changed");
    }
  }
  return absl::OkStatus();
}

absl::Status BarrierHoldsEveryone(GroupComms& comms) {
  for (int i = 0; i < 100; ++i) {
    RETURN_IF_ERROR(comms.tensor->Barrier());
    RETURN_IF_ERROR(comms.group->Barrier());
  }
  return absl::OkStatus();
}

absl::Status RefusesArgumentsThatCannotBe(GroupComms& comms) {
  Communicator& comm = *comms.group;
  std::byte byte{};
  for (int peer : {-1, comm.rank(), comm.size()}) {
    if (!absl::IsInvalidArgument(comm.Send(peer, 0, {&byte, 1})) ||
        !absl::IsInvalidArgument(comm.Recv(peer, 0, {&byte, 1}))) {
      return Wrong(absl::StrCat("a message to or from rank ", peer, " was not refused"));
    }
  }
  std::vector<absl::Span<std::byte>> recv(comm.size() + 1);
  if (!absl::IsInvalidArgument(comm.AllGather({}, recv))) {
    return Wrong("an all-gather with too many spans was not refused");
  }
  return comm.Barrier();  // nothing is broken
}

// The sum of a node in the order that defines it: each lane's own values, left plus right.
std::vector<float> TreeSum(const LaneTree& tree, int node, int64_t count,
                           const std::vector<std::vector<float>>& lanes) {
  const auto& n = tree.nodes()[node];
  if (n.left < 0) return lanes[n.lanes.begin];
  std::vector<float> left = TreeSum(tree, n.left, count, lanes);
  const std::vector<float> right = TreeSum(tree, n.right, count, lanes);
  for (int64_t i = 0; i < count; ++i) left[i] = left[i] + right[i];
  return left;
}

// Lanes of a sum, and what it is to be.
struct KnownSum {
  worker::SharedLanes lanes;
  std::vector<std::vector<float>> roots;  // of this rank
  std::vector<float> expected;
};

KnownSum MakeSum(const LaneTree& tree, const std::vector<Range>& share, int rank, int64_t count) {
  // Values of very different size: any other order of adding gives other bits.
  std::vector<std::vector<float>> lanes(tree.num_lanes(), std::vector<float>(count));
  uint32_t state = static_cast<uint32_t>(count);
  for (auto& lane : lanes) {
    for (float& x : lane) {
      state = state * 1664525u + 1013904223u;
      x = static_cast<float>(static_cast<int32_t>(state)) * static_cast<float>(1u << (state >> 27));
    }
  }
  KnownSum sum{.lanes = {&tree, share}, .roots = {}, .expected = TreeSum(tree, 0, count, lanes)};
  for (int node : tree.MaximalSubtrees(share[rank])) {
    sum.roots.push_back(TreeSum(tree, node, count, lanes));
  }
  return sum;
}

// All of them in one exchange.
absl::Status SumTogether(Communicator& comm, const std::vector<KnownSum>& sums, int64_t count,
                         worker::LaneSumWorkspace& workspace) {
  std::vector<std::vector<absl::Span<const float>>> own;
  std::vector<worker::LaneSumPart> parts;
  std::vector<float> expected;
  for (const KnownSum& sum : sums) {
    own.emplace_back(sum.roots.begin(), sum.roots.end());
    expected.insert(expected.end(), sum.expected.begin(), sum.expected.end());
  }
  for (size_t s = 0; s < sums.size(); ++s) parts.push_back({sums[s].lanes, own[s]});
  std::vector<float> out(expected.size(), -1.0f);
  RETURN_IF_ERROR(worker::LaneSums(comm, parts, absl::MakeSpan(out), workspace));
  if (!out.empty() && std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) != 0) {
    return Wrong(absl::StrCat(sums.size(), " sums of ", count, " columns over ", comm.size(),
                              " ranks have other bits than the tree"));
  }
  return absl::OkStatus();
}

// Lanes shared against the rule: the last rank takes all that it can, others one each.
std::vector<Range> LopsidedShare(int lanes, int ranks) {
  std::vector<Range> share;
  for (int r = 0; r < ranks; ++r) share.push_back({r, r + 1 < ranks ? r + 1 : lanes});
  return share;
}

absl::Status SumsLanesAlongTheTree(GroupComms& comms) {
  Communicator& comm = *comms.tensor;
  worker::LaneSumWorkspace workspace;
  const std::vector<LaneTree> trees = {LaneTree::ForHeads(8, 2, 8), LaneTree::ForHeads(14, 2, 8),
                                       LaneTree::ForColumns(4864, 8),
                                       LaneTree::ForHeads(32, 8, 16)};
  const LaneTree beside = LaneTree::ForColumns(4096, 16);
  for (const LaneTree& tree : trees) {
    if (comm.size() > tree.num_lanes()) continue;
    for (const auto& share :
         {tree.Share(comm.size()), LopsidedShare(tree.num_lanes(), comm.size())}) {
      // One-shot up to 8,191 floats, two-shot from 8,192.
      for (int64_t count : {0, 1, 7, 896, 4095, 4096, 8191, 8192, 8193, 20011}) {
        const KnownSum sum = MakeSum(tree, share, comm.rank(), count);
        RETURN_IF_ERROR(SumTogether(comm, {sum}, count, workspace));
        // Of two trees side by side: slices end in the middle of either.
        const std::vector<Range> second = beside.Share(comm.size());
        const KnownSum other = MakeSum(beside, second, comm.rank(), count);
        RETURN_IF_ERROR(SumTogether(comm, {sum, other}, count, workspace));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status TimesEveryPair(GroupComms& comms) {
  Communicator& comm = *comms.group;
  worker::PairTestOptions options;
  options.large_bytes = 1 << 20;
  ASSIGN_OR_RETURN(const auto timings, worker::TestPairs(comm, options));
  if (timings.size() != static_cast<size_t>(comm.size() * (comm.size() - 1) / 2)) {
    return Wrong(absl::StrCat("the pair test told of ", timings.size(), " pairs"));
  }
  for (const worker::PairTiming& timing : timings) {
    if (timing.a >= timing.b || timing.latency_us <= 0 || timing.bandwidth_mb_s <= 0) {
      return Wrong("the pair test told of a pair that took no time");
    }
  }
  return absl::OkStatus();
}

absl::Status ReportsOtherTag(GroupComms& comms) {
  Communicator& comm = *comms.group;
  std::byte byte{};
  if (comm.rank() == 0) return comm.Send(1, 5, {&byte, 1});
  if (comm.rank() != 1) return absl::OkStatus();
  const absl::Status status = comm.Recv(0, 6, {&byte, 1});
  if (!absl::IsInternal(status) || !absl::StrContains(status.message(), "rank 0")) {
    return Wrong(absl::StrCat("a wrong tag gave: ", status.ToString()));
  }
  if (comm.Barrier() != status) return Wrong("a broken communicator went on");
  return absl::OkStatus();
}

absl::Status ReportsOtherSize(GroupComms& comms) {
  Communicator& comm = *comms.group;
  Bytes bytes(100 + comm.rank());
  std::vector<Bytes> into(comm.size(), Bytes(100));
  into[comm.rank()].resize(bytes.size());
  std::vector<absl::Span<std::byte>> recv;
  for (Bytes& b : into) recv.push_back(absl::MakeSpan(b));
  const absl::Status status = comm.AllGather(bytes, recv);
  // Rank 0 sends what was expected: the other rank of two has nothing to complain of. Among more,
  // one may first notice that another has given up.
  if (comm.size() == 2 && comm.rank() == 1) return absl::OkStatus();
  if (!absl::IsInternal(status) && (comm.size() == 2 || !absl::IsUnavailable(status))) {
    return Wrong(absl::StrCat("a wrong size gave: ", status.ToString()));
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<CommCase>& CommCases() {
  static const auto* cases = new std::vector<CommCase>{
      {"gather", "gathers equal sizes from nothing to megabytes", GathersEqualSizes},
      {"uneven", "gathers sizes that differ between ranks", GathersUnevenSizes},
      {"inplace", "gathers in place", GathersInPlace},
      {"alltoall", "exchanges all to all with pairwise sizes", ExchangesAllToAll},
      {"order", "keeps the messages of a pair in order", SendsInOrder},
      {"eager", "takes small messages before anyone receives them", SmallSendsDoNotWait},
      {"pipeline", "passes hidden states through stages and ids back", RunsAPipeline},
      {"barrier", "meets at barriers", BarrierHoldsEveryone},
      {"arguments", "refuses peers and spans that do not exist", RefusesArgumentsThatCannotBe},
      {"lanes", "sums lanes with the bits of the tree", SumsLanesAlongTheTree},
      {"pairs", "times every pair of ranks", TimesEveryPair},
      {"tag", "reports a message with another tag", ReportsOtherTag, true},
      {"size", "reports a gather of another size", ReportsOtherSize, true},
  };
  return *cases;
}

namespace failing {

absl::Status AbsentRank(GroupComms& comms, int absent) {
  Communicator& comm = *comms.group;
  if (comm.rank() == absent) return absl::OkStatus();
  const absl::Status status = comm.Barrier();
  if (!absl::IsDeadlineExceeded(status) ||
      !absl::StrContains(status.message(), absl::StrCat("for rank ", absent, ","))) {
    return Wrong(absl::StrCat("rank ", absent, " did not come, which gave: ", status.ToString()));
  }
  if (comms.tensor->Barrier() != status && comms.tensor->size() > 1) {
    return Wrong("the tensor communicator of a broken group went on");
  }
  return absl::OkStatus();
}

absl::Status GoneRank(GroupComms& comms, int gone) {
  for (;;) {
    const absl::Status status = comms.group->Barrier();
    if (status.ok()) continue;  // it is not gone yet
    if (absl::IsUnavailable(status) &&
        absl::StrContains(status.message(), absl::StrCat("rank ", gone, " is gone"))) {
      return absl::OkStatus();
    }
    return Wrong(absl::StrCat("rank ", gone, " is gone, which gave: ", status.ToString()));
  }
}

}  // namespace failing
}  // namespace tessera::tests
