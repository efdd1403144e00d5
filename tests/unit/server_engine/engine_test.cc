#include "server/engine/engine.h"

#include <catch2/catch.hpp>

#include <atomic>

#include "proto/rpc/status.h"
#include "tests/support/demo_tokenizer.h"
#include "tests/support/fake_executor.h"
#include "tests/unit/server_engine/stream_reader.h"

namespace tessera::server {
namespace {

using tests::DemoTokenizer;
using Reader = StreamReader;
using tests::FakeExecutor;

Request Ask(const std::string& id, uint32_t max_tokens) {
  Request request;
  request.id = id;
  request.prompt = {0, 90, 91};
  request.max_tokens = max_tokens;
  return request;
}

struct Parts {
  explicit Parts(EngineOptions options = {})
      : executor(FakeExecutor::Counting(65)),
        engine(options, DemoTokenizer(), {{&executor, &counters}},
               [this](const EngineCondition& condition) { state = condition.state; }) {
    engine.Start();
  }
  ~Parts() { executor.Stop(); }
  FakeExecutor executor;
  Counters counters;
  std::atomic<EngineState> state{EngineState::kStarting};
  Engine engine;
};

TEST_CASE("many threads ask at a time and each gets its own answer") {
  Parts parts;
  parts.executor.RunBySelf();
  parts.executor.BecomeReady();
  std::vector<std::thread> threads;
  std::vector<size_t> counts(16);
  for (size_t i = 0; i < counts.size(); ++i) {
    threads.emplace_back([&parts, &counts, i] {
      Reader reader;
      auto key = parts.engine.Submit(Ask("r" + std::to_string(i), 1 + i), reader.stream());
      if (key.ok() && reader.ReadAll().ok()) counts[i] = reader.ids().size();
    });
  }
  for (auto& thread : threads) thread.join();
  for (size_t i = 0; i < counts.size(); ++i) CHECK(counts[i] == 1 + i);
  CHECK(parts.engine.num_live() == 0);
}

TEST_CASE("an id in use is refused, and free again when its request has ended") {
  Parts parts;
  parts.executor.RunBySelf();
  Reader first, second, third;
  REQUIRE(parts.engine.Submit(Ask("same", 1), first.stream()).ok());
  CHECK(absl::IsAlreadyExists(parts.engine.Submit(Ask("same", 1), second.stream()).status()));
  parts.executor.BecomeReady();
  CHECK(first.ReadAll().ok());
  REQUIRE(parts.engine.Submit(Ask("same", 1), third.stream()).ok());
  CHECK(third.ReadAll().ok());
}

TEST_CASE("a full queue refuses with a hint when to try again") {
  Parts parts(EngineOptions{.max_queue = 2});
  Reader a, b, c;
  REQUIRE(parts.engine.Submit(Ask("a", 1), a.stream()).ok());
  REQUIRE(parts.engine.Submit(Ask("b", 1), b.stream()).ok());
  absl::Status refused = parts.engine.Submit(Ask("c", 1), c.stream()).status();
  CHECK(absl::IsResourceExhausted(refused));
  CHECK(rpc::RetryDelay(refused) > absl::ZeroDuration());
  parts.executor.RunBySelf();
  parts.executor.BecomeReady();
  CHECK(a.ReadAll().ok());
  CHECK(b.ReadAll().ok());
  REQUIRE(parts.engine.Submit(Ask("c", 1), c.stream()).ok());
  CHECK(c.ReadAll().ok());
}

TEST_CASE("a request whose reader has left ends") {
  Parts parts;
  parts.executor.BecomeReady();
  Reader reader;
  auto key = parts.engine.Submit(Ask("a", 500), reader.stream());
  REQUIRE(key.ok());
  parts.engine.Cancel(*key);
  CHECK(absl::IsCancelled(reader.ReadAll()));
  parts.engine.Cancel(*key);  // once more is no harm
}

TEST_CASE("a deadline ends a request although nothing happens meanwhile") {
  Parts parts;
  Reader reader;
  Request request = Ask("a", 5);
  request.deadline = absl::Now() + absl::Milliseconds(20);
  REQUIRE(parts.engine.Submit(request, reader.stream()).ok());
  CHECK(absl::IsDeadlineExceeded(reader.ReadAll()));
}

TEST_CASE("a drain lets running requests end and refuses new ones") {
  Parts parts;
  parts.executor.RunBySelf();
  parts.executor.BecomeReady();
  Reader running, late;
  REQUIRE(parts.engine.Submit(Ask("a", 300), running.stream()).ok());
  parts.engine.BeginDrain();
  CHECK(absl::IsUnavailable(parts.engine.Submit(Ask("b", 1), late.stream()).status()));
  CHECK(parts.engine.FinishDrain(absl::Now() + absl::Seconds(30)));
  CHECK(running.ReadAll().ok());
  CHECK(running.ids().size() == 300);
  CHECK(parts.state == EngineState::kDraining);
}

TEST_CASE("a drain cuts off at its deadline, or at once when it is told to") {
  for (bool cut : {false, true}) {
    Parts parts;  // whose steps nobody runs
    parts.executor.BecomeReady();
    Reader stuck;
    REQUIRE(parts.engine.Submit(Ask("a", 5), stuck.stream()).ok());
    parts.engine.BeginDrain();
    if (cut) parts.engine.CutDrain();
    absl::Time deadline = absl::Now() + (cut ? absl::Seconds(3600) : absl::Milliseconds(10));
    CHECK_FALSE(parts.engine.FinishDrain(deadline));
    CHECK(absl::IsUnavailable(stuck.ReadAll()));
  }
}

TEST_CASE("the condition follows the group") {
  Parts parts;
  parts.executor.BecomeReady();
  Reader first;
  REQUIRE(parts.engine.Submit(Ask("a", 5), first.stream()).ok());
  parts.executor.Lose(absl::UnavailableError("rank 0: killed"));
  parts.executor.BecomeReady();
  parts.executor.RunBySelf();
  Reader second;
  REQUIRE(parts.engine.Submit(Ask("b", 1), second.stream()).ok());
  CHECK(second.ReadAll().ok());
  CHECK(first.ReadAll().ok());
  CHECK(first.ids().size() == 5);
  CHECK(parts.engine.condition().state == EngineState::kReady);
  CHECK(parts.engine.condition().was_ready);
  CHECK(parts.engine.numerics_id() == "fake-numerics");
}

}  // namespace
}  // namespace tessera::server
