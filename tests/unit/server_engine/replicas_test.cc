// Several replicas behind one engine.
#include "server/engine/engine.h"

#include <catch2/catch.hpp>

#include "tests/support/fake_executor.h"
#include "tests/support/fixtures.h"

namespace tessera::server {
namespace {

using tests::FakeExecutor;

const Tokenizer& DemoTokenizer() {
  static const auto tokenizer = Tokenizer::Load(tests::DemoModel());
  REQUIRE(tokenizer.ok());
  return **tokenizer;
}

Request Ask(const std::string& id, size_t blocks, uint32_t token) {
  Request request;
  request.id = id;
  request.prompt.assign(blocks * 16, token);
  request.max_tokens = 1;
  return request;
}

// Two replicas over groups that compute nothing; conditions can be waited for.
struct Pair {
  Pair()
      : first(FakeExecutor::Counting(65)),
        second(FakeExecutor::Counting(65)),
        engine({}, DemoTokenizer(), {{&first, &counters[0]}, {&second, &counters[1]}},
               [this](const EngineCondition& condition) {
                 MutexLock lock(mutex);
                 told.push_back(condition);
                 changed.NotifyAll();
               }) {
    engine.Start();
  }
  ~Pair() {
    first.Stop();
    second.Stop();
  }
  // The condition that was told last, once it is this one.
  EngineCondition Await(EngineState state) {
    MutexLock lock(mutex);
    while (told.empty() || told.back().state != state) changed.Wait(mutex);
    return told.back();
  }
  // Waits for the answer's end.
  absl::Status Run(const std::string& id, size_t blocks, uint32_t token) {
    auto stream = std::make_shared<ResponseStream>(1 << 20);
    int available = 0;
    stream->SetAvailable([&] {
      MutexLock lock(mutex);
      ++available;
      changed.NotifyAll();
    });
    auto key = engine.Submit(Ask(id, blocks, token), stream);
    if (!key.ok()) return key.status();
    for (int seen = 0;; ++seen) {
      {
        MutexLock lock(mutex);
        while (available <= seen) changed.Wait(mutex);
        seen = available - 1;
      }
      while (auto event = stream->Take()) {
        if (auto* status = std::get_if<absl::Status>(&*event)) return *status;
      }
    }
  }

  FakeExecutor first, second;
  Counters counters[2];
  Mutex mutex;
  CondVar changed;
  std::vector<EngineCondition> told ABSL_GUARDED_BY(mutex);
  Engine engine;
};

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
  CHECK(pair.Run("a", 4, 70).ok());  // both idle: the first
  for (int i = 0; i < 3; ++i) CHECK(pair.Run("b" + std::to_string(i), 4, 70).ok());
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
  while (pair.engine.condition().why.empty()) std::this_thread::yield();
  CHECK(pair.Run("a", 4, 70).ok());
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
