#include "worker/comm/nccl_communicator.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "tests/unit/worker_comm_nccl/fake_nccl.h"
#include "worker/comm/pair_test.h"

namespace tessera::tests {
namespace {

using Catch::Matchers::Contains;
using worker::GroupComms;
using worker::NcclOptions;

// A rank of the fake world.
struct FakeRank {
  FakeRank(FakeWorld* world, int rank, int tp, int pp, FakeFaults faults = {},
           absl::Duration timeout = absl::Seconds(20))
      : api(world, faults), store(world) {
    scratch.resize(2 * tp * pp);
    options = {&api, &store, rank, tp, pp, timeout, absl::MakeSpan(scratch)};
  }
  absl::Status Connect() {
    auto connected = worker::ConnectNccl(options);
    if (connected.ok()) comms = *std::move(connected);
    return connected.status();
  }
  FakeNccl api;
  FakeStore store;
  std::vector<std::byte> scratch;
  NcclOptions options;
  GroupComms comms;
};

template <typename Body>
void OnEveryRank(std::vector<std::unique_ptr<FakeRank>>& ranks, const Body& body) {
  std::vector<std::thread> threads;
  for (auto& rank : ranks) threads.emplace_back([&body, &rank] { body(*rank); });
  for (auto& thread : threads) thread.join();
}

absl::Span<std::byte> Bytes(std::vector<int>& values) {
  return {reinterpret_cast<std::byte*>(values.data()), values.size() * sizeof(int)};
}

TEST_CASE("ranks join with delays, exchange, pass messages and meet") {
  FakeWorld world;
  std::vector<std::unique_ptr<FakeRank>> ranks;
  for (int r = 0; r < 4; ++r) {
    ranks.push_back(
        std::make_unique<FakeRank>(&world, r, 2, 2, FakeFaults{.polls_in_progress = r}));
  }
  std::vector<absl::Status> status(4);
  std::vector<std::vector<int>> gathered(4, std::vector<int>(4));
  std::vector<int> message(4);
  OnEveryRank(ranks, [&](FakeRank& rank) {
    const int r = rank.options.rank;
    status[r] = rank.Connect();
    if (!status[r].ok()) return;
    std::vector<int> own = {100 + r};
    std::vector<absl::Span<std::byte>> recv;
    for (int peer = 0; peer < 4; ++peer) recv.push_back(Bytes(gathered[r]).subspan(4 * peer, 4));
    status[r].Update(rank.comms.group->AllGather(Bytes(own), recv));
    status[r].Update(rank.comms.tensor->Barrier());
    std::vector<int> note = {7 + r};
    if (r < 2) status[r].Update(rank.comms.group->Send(r + 2, 1, Bytes(note)));
    if (r >= 2) status[r].Update(rank.comms.group->Recv(r - 2, 1, Bytes(note)));
    message[r] = note[0];
  });
  for (int r = 0; r < 4; ++r) {
    INFO("rank " << r << ": " << status[r].ToString());
    CHECK(status[r].ok());
    CHECK(gathered[r] == std::vector<int>{100, 101, 102, 103});
    CHECK(ranks[r]->comms.tensor->rank() == r % 2);
  }
  CHECK(message == std::vector<int>{7, 8, 7, 8});
  for (auto& rank : ranks) {
    rank->comms = {};
    CHECK(rank->api.destroys == 2);
    CHECK(rank->api.aborts == 0);
  }
}

TEST_CASE("a communicator that never gets ready ends at the deadline, and is aborted") {
  FakeWorld world;
  FakeRank rank(&world, 0, 2, 1, {.hang_init = true}, absl::Milliseconds(20));
  const absl::Status status = rank.Connect();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(std::string(status.message()), Contains("joining: rank 0 waited 20ms for rank 1"));
  CHECK(rank.api.aborts == 1);
  CHECK(rank.api.destroys == 0);
}

TEST_CASE("joining ends when it is interrupted, with the reason") {
  FakeWorld world;
  FakeRank rank(&world, 0, 2, 1, {.hang_init = true});
  worker::Interrupter interrupter;
  rank.options.interrupter = &interrupter;
  std::thread other([&] { interrupter.Interrupt(absl::InternalError("told to end")); });
  const absl::Status status = rank.Connect();
  other.join();
  CHECK(status.code() == absl::StatusCode::kCancelled);
  CHECK(status.message() == "told to end");
  CHECK(rank.api.aborts == 1);
}

TEST_CASE("an error of joining is told in NCCL's words") {
  FakeWorld world;
  FakeRank rank(&world, 0, 2, 1, {.fail_init = 1});
  const absl::Status status = rank.Connect();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(status.message()), Contains("joining: internal error"));
}

// Two ranks that have joined; the first has faults.
struct Pair {
  explicit Pair(FakeFaults faults, absl::Duration timeout = absl::Seconds(20)) {
    ranks.push_back(std::make_unique<FakeRank>(&world, 0, 2, 1, faults, timeout));
    ranks.push_back(std::make_unique<FakeRank>(&world, 1, 2, 1, FakeFaults{}, timeout));
    std::vector<absl::Status> status(2);
    OnEveryRank(ranks, [&](FakeRank& rank) { status[rank.options.rank] = rank.Connect(); });
    REQUIRE(status[0].ok());
    REQUIRE(status[1].ok());
  }
  absl::Status Gather() {
    std::vector<int> own = {1};
    std::vector<int> all(2);
    std::vector<absl::Span<std::byte>> recv = {Bytes(all).subspan(0, 4), Bytes(all).subspan(4, 4)};
    return ranks[0]->comms.tensor->AllGather(Bytes(own), recv);
  }
  FakeWorld world;
  std::vector<std::unique_ptr<FakeRank>> ranks;
};

TEST_CASE("a peer that does not come is waited for until the deadline, then the group is broken") {
  Pair pair({}, absl::Milliseconds(200));
  const absl::Status status = pair.Gather();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(std::string(status.message()), Contains("for rank 1"));
  CHECK(pair.ranks[0]->api.aborts == 1);
  CHECK(pair.Gather() == status);
  CHECK(pair.ranks[0]->comms.group->Barrier() == status);
  pair.ranks[0]->comms = {};
  CHECK(pair.ranks[0]->api.aborts == 2);
  CHECK(pair.ranks[0]->api.destroys == 0);
}

TEST_CASE("an error that shows in the state ends the wait for the stream") {
  Pair pair({.fail_exchange = 1, .hang_exchange = true});
  const absl::Status status = pair.Gather();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(status.message()), Contains("an exchange: internal error"));
}

TEST_CASE("a failed stream is told in the device's words") {
  Pair pair({.fail_stream = true});
  CHECK_THAT(std::string(pair.Gather().message()), Contains("illegal memory access"));
}

TEST_CASE("an abort from another thread ends a wait with its reason") {
  Pair pair({.hang_exchange = true});
  std::thread other([&] { pair.ranks[0]->comms.group->Abort(absl::InternalError("told to end")); });
  const absl::Status status = pair.Gather();
  other.join();
  CHECK(status.code() == absl::StatusCode::kCancelled);
  CHECK_THAT(std::string(status.message()), Contains("aborted: told to end"));
  // At once, or at its end where the exchange had not begun.
  pair.ranks[0]->comms = {};
  CHECK(pair.ranks[0]->api.aborts >= 1);
}

TEST_CASE("what does not fit is refused and breaks nothing") {
  Pair pair({});
  std::vector<int> own = {1};
  CHECK(pair.ranks[0]->comms.group->Send(0, 1, Bytes(own)).code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(pair.ranks[0]->comms.group->AllGather(Bytes(own), {}).code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(pair.ranks[0]->comms.group->Send(1, 1, Bytes(own)).ok());
}

TEST_CASE("pairs over nccl are timed, and a dead one is named") {
  Pair pair({});
  const worker::PairTestOptions options{.round_trips = 3, .large_bytes = 1000};
  std::vector<absl::StatusOr<std::vector<worker::PairTiming>>> timings(2);
  OnEveryRank(pair.ranks, [&](FakeRank& rank) {
    timings[rank.options.rank] = worker::TestPairs(*rank.comms.group, options);
  });
  for (const auto& each : timings) {
    INFO(each.status().ToString());
    REQUIRE(each.ok());
    REQUIRE(each->size() == 1);
    CHECK((*each)[0].latency_us > 0);
    CHECK((*each)[0].bandwidth_mb_s == (*timings[0])[0].bandwidth_mb_s);
  }

  Pair dead({.hang_exchange = true}, absl::Milliseconds(50));
  CHECK_THAT(
      std::string(worker::TestPairs(*dead.ranks[0]->comms.group, options).status().message()),
      Contains("pair of ranks 0 and 1"));
}

}  // namespace
}  // namespace tessera::tests
