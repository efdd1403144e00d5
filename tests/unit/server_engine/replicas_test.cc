// Several replicas behind one engine.
#include <catch2/catch.hpp>

#include "tests/unit/server_engine/replica_pair.h"

namespace tessera::server {
namespace {

TEST_CASE("replicas are ready when all of them have been, and as long as one is") {
  Pair pair;
  CHECK(pair.engine.condition().state == EngineState::kStarting);
  pair.first.BecomeReady();
  CHECK(pair.engine.condition().state == EngineState::kStarting);
  pair.second.BecomeReady();
  CHECK(pair.Await(EngineState::kReady).was_ready);
  pair.first.Lose(absl::UnavailableError("gone"));
  CHECK(pair.engine.condition().state == EngineState::kReady);
  pair.second.Lose(absl::UnavailableError("gone too"));
  const EngineCondition condition = pair.Await(EngineState::kRecovering);
  CHECK_THAT(condition.why, Catch::Contains("replica 1: gone too"));
}

TEST_CASE("a replica that can never be made fails the deployment") {
  Pair pair;
  pair.first.BecomeReady();
  pair.second.Fail(absl::FailedPreconditionError("no memory"));
  const EngineCondition condition = pair.Await(EngineState::kFailed);
  CHECK_FALSE(condition.was_ready);
  CHECK_THAT(condition.why, Catch::Contains("replica 1: no memory"));
}

TEST_CASE("a prompt goes where its beginning was sent, others to the one with less to do") {
  Pair pair;
  pair.first.RunBySelf();
  pair.second.RunBySelf();
  pair.first.BecomeReady();
  pair.second.BecomeReady();
  pair.Await(EngineState::kReady);
  CHECK(pair.Run(Ask("a", 4, 70)).ok());  // both idle: the first
  for (int i = 0; i < 3; ++i) CHECK(pair.Run(Ask("b" + std::to_string(i), 4, 70)).ok());
  CHECK(pair.counters[0].requests_total == 4);
  CHECK(pair.counters[1].requests_total == 0);
}

TEST_CASE("requests go to the replica that is ready, and wait where none is") {
  Pair pair;
  pair.second.RunBySelf();
  pair.first.BecomeReady();
  pair.second.BecomeReady();
  pair.Await(EngineState::kReady);
  pair.first.Lose(absl::UnavailableError("gone"));
  pair.AwaitAway(true);
  CHECK(pair.Run(Ask("a", 4, 70)).ok());
  CHECK(pair.counters[1].requests_total == 1);
}

TEST_CASE("an id is in use on whichever replica it lives, and a key finds its request") {
  Pair pair;
  std::vector<std::shared_ptr<ResponseStream>> streams;
  std::vector<uint64_t> keys;
  for (int i = 0; i < 4; ++i) {
    streams.push_back(std::make_shared<ResponseStream>(1 << 20));
    auto key = pair.engine.Submit(Ask("r" + std::to_string(i), 1, 70 + i), streams.back());
    REQUIRE(key.ok());
    keys.push_back(*key);
  }
  CHECK(pair.engine.num_live() == 4);
  auto again = std::make_shared<ResponseStream>(1 << 20);
  for (int i = 0; i < 4; ++i) {
    CHECK(absl::IsAlreadyExists(
        pair.engine.Submit(Ask("r" + std::to_string(i), 1, 70), again).status()));
  }
  for (uint64_t key : keys) pair.engine.Cancel(key);
  CHECK(pair.engine.FinishDrain(absl::InfiniteFuture()));
  CHECK(pair.engine.num_live() == 0);
}

}  // namespace
}  // namespace tessera::server
