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

TEST_CASE("sums allocate nothing once the workspace has the size that it tells") {
  const LaneTree tree = LaneTree::ForHeads(32, 8, 8);
  for (int tp : {2, 3, 8}) {
    const std::vector<Range> share = tree.Share(tp);
    auto comms = MakeLocalGroup(tp, absl::Seconds(60));
    std::vector<std::thread> threads;
    std::vector<int64_t> made(tp, -1);
    for (int r = 0; r < tp; ++r) {
      threads.emplace_back([&, r] {
        LaneSumWorkspace workspace;
        workspace.Reserve(LaneSumWorkspace::Bytes(tree, share, r, 50000), tp);
        made[r] = 0;
        for (int64_t count : {1, 8191, 8192, 50000, 777}) {
          const int64_t now = SumOnce(*comms[r], tree, share, count, workspace);
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
