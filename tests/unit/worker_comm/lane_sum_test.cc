#include "worker/comm/lane_sum.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>
#include <thread>

#include "worker/comm/local_communicator.h"

namespace {
thread_local int64_t allocations = 0;
}

// Not inlined, or the compiler takes the pairs of malloc and delete for a mistake.
[[gnu::noinline]] void* operator new(size_t bytes) {
  ++allocations;
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace tessera::worker {
namespace {

using shard_loader::LaneTree;
using shard_loader::Range;

TEST_CASE("a lone rank copies its sum of all lanes") {
  auto comm = MakeLocalGroup(1, absl::Seconds(1));
  const LaneTree tree = LaneTree::ForHeads(8, 8, 8);
  const std::vector<float> root = {1, 2, 3};
  const std::vector<absl::Span<const float>> own = {root};
  std::vector<float> out(3);
  LaneSumWorkspace workspace;
  REQUIRE(LaneSum(*comm[0], tree, {{0, 8}}, own, absl::MakeSpan(out), workspace).ok());
  CHECK(out == root);
}

TEST_CASE("buffers that do not fit the tree are refused") {
  auto comm = MakeLocalGroup(1, absl::Seconds(1));
  const LaneTree tree = LaneTree::ForHeads(8, 8, 8);
  const std::vector<float> root(4);
  const std::vector<absl::Span<const float>> one = {root}, two = {root, root};
  std::vector<float> out(4), shorter(3);
  LaneSumWorkspace workspace;
  auto code = [&](std::vector<Range> share, const auto& own, std::vector<float>& into) {
    return LaneSum(*comm[0], tree, share, own, absl::MakeSpan(into), workspace).code();
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  CHECK(code({{0, 8}}, one, out) == absl::StatusCode::kOk);
  CHECK(code({{0, 8}}, two, out) == invalid);
  CHECK(code({{0, 8}}, one, shorter) == invalid);
  CHECK(code({{0, 7}}, one, out) == invalid);
  CHECK(code({{1, 8}}, one, out) == invalid);
  CHECK(code({{0, 4}, {4, 8}}, one, out) == invalid);
}

TEST_CASE("parts that do not fit each other are refused") {
  auto comm = MakeLocalGroup(1, absl::Seconds(1));
  const LaneTree tree = LaneTree::ForHeads(8, 8, 8);
  const std::vector<Range> all = {{0, 8}};
  const std::vector<float> root = {1, 2}, longer = {3, 4, 5};
  const std::vector<absl::Span<const float>> two = {root}, three = {longer};
  std::vector<float> out(4);
  LaneSumWorkspace workspace;
  const LaneSumPart part = {{&tree, all}, two}, other = {{&tree, all}, three};
  const auto sums = [&](const std::vector<LaneSumPart>& parts, size_t floats) {
    return LaneSums(*comm[0], parts, absl::MakeSpan(out).first(floats), workspace);
  };
  CHECK(sums({part, part}, 4).ok());
  CHECK(out == std::vector<float>{1, 2, 1, 2});
  CHECK(absl::IsInvalidArgument(sums({part, other}, 4)));
  CHECK(absl::IsInvalidArgument(sums({part, part}, 3)));
  CHECK(absl::IsInvalidArgument(sums({part, part, part}, 3)));
  CHECK(absl::IsInvalidArgument(sums({}, 0)));
}

// One rank's call; returns the allocations that it made.
int64_t SumOnce(Communicator& comm, const LaneTree& tree, const std::vector<Range>& share,
                int64_t count, LaneSumWorkspace& workspace) {
  std::vector<float> ones(count, 1.0f), out(count);
  std::vector<absl::Span<const float>> own(tree.MaximalSubtrees(share[comm.rank()]).size(), ones);
  const int64_t before = allocations;
  const absl::Status status = LaneSum(comm, tree, share, own, absl::MakeSpan(out), workspace);
  const int64_t made = allocations - before;
  // Every partial sum is 1, so the result counts them.
  size_t roots = 0;
  for (const Range& lanes : share) roots += tree.MaximalSubtrees(lanes).size();
  return status.ok() && out == std::vector<float>(count, static_cast<float>(roots)) ? made : -1;
}

// The same of two parts, shared in their own ways.
int64_t SumBoth(Communicator& comm, const std::vector<SharedLanes>& sums, int64_t count,
                LaneSumWorkspace& workspace) {
  const std::vector<float> ones(count, 1.0f);
  std::vector<float> out(2 * count), expected;
  std::vector<std::vector<absl::Span<const float>>> own(2);
  std::vector<LaneSumPart> parts;
  for (size_t p = 0; p < 2; ++p) {
    const Range& lanes = sums[p].lanes_by_rank[comm.rank()];
    own[p].assign(sums[p].tree->MaximalSubtrees(lanes).size(), ones);
    parts.push_back({sums[p], own[p]});
    size_t roots = 0;
    for (const Range& each : sums[p].lanes_by_rank) {
      roots += sums[p].tree->MaximalSubtrees(each).size();
    }
    expected.insert(expected.end(), count, static_cast<float>(roots));
  }
  const int64_t before = allocations;
  const absl::Status status = LaneSums(comm, parts, absl::MakeSpan(out), workspace);
  const int64_t made = allocations - before;
  return status.ok() && out == expected ? made : -1;
}

TEST_CASE("sums allocate nothing once the workspace has the size that it tells") {
  const LaneTree tree = LaneTree::ForHeads(32, 8, 8);
  for (int tp : {2, 3, 8}) {
    const std::vector<Range> share = tree.Share(tp);
    const LaneTree columns = LaneTree::ForColumns(4096, 8);
    const std::vector<Range> columns_share = columns.Share(tp);
    auto comms = MakeLocalGroup(tp, absl::Seconds(60));
    std::vector<std::thread> threads;
    std::vector<int64_t> made(tp, -1);
    for (int r = 0; r < tp; ++r) {
      threads.emplace_back([&, r] {
        LaneSumWorkspace workspace;
        workspace.Reserve(LaneSumWorkspace::Bytes({{&tree, share}}, r, 50000), tp);
        made[r] = 0;
        for (int64_t count : {1, 8191, 8192, 50000, 777}) {
          const int64_t now = SumOnce(*comms[r], tree, share, count, workspace);
          made[r] = now < 0 || made[r] < 0 ? -1 : made[r] + now;
        }
        const std::vector<SharedLanes> both = {{&tree, share}, {&columns, columns_share}};
        LaneSumWorkspace second;
        second.Reserve(LaneSumWorkspace::Bytes(both, r, 50000), tp);
        for (int64_t count : {1, 4095, 4096, 50000, 777}) {
          const int64_t now = SumBoth(*comms[r], both, count, second);
          made[r] = now < 0 || made[r] < 0 ? -1 : made[r] + now;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(made == std::vector<int64_t>(tp, 0));
  }
}

}  // namespace
}  // namespace tessera::worker
