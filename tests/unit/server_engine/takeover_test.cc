// Requests whose group is lost go on on another replica.
#include <catch2/catch.hpp>

#include <numeric>

#include "tests/unit/server_engine/replica_pair.h"

namespace tessera::server {
namespace {

// What a fake group draws behind a prompt of `length`: by the length of the log alone.
std::vector<uint32_t> Undisturbed(size_t length, size_t count) {
  tests::FakeExecutor::Draw draw = tests::FakeExecutor::Counting(65);
  std::vector<uint32_t> log(length), ids;
  for (size_t i = 0; i < count; ++i) {
    ids.push_back(draw(log).id);
    log.push_back(ids.back());
  }
  return ids;
}

// Runs steps of a group until the answer has so many ids, or one or two more.
void RunUntil(tests::FakeExecutor& group, StreamReader& reader, size_t ids) {
  while (reader.ids().size() < ids) {
    if (!group.RunStep()) std::this_thread::yield();
    reader.ReadNow();
  }
}

// Groups of one seat each, which these take.
void FillSeats(Pair& pair, StreamReader& a, StreamReader& b) {
  GroupFacts facts = tests::FakeExecutor::Facts();
  facts.max_num_seqs = 1;
  pair.BecomeReady(facts);
  pair.Submit(Ask("a", 1, 70, 10), a);
  pair.Submit(Ask("b", 1, 71, 10), b);
  RunUntil(pair.first, a, 3);
  RunUntil(pair.second, b, 3);
}

TEST_CASE("a request whose group is lost goes on at once on a replica that has room") {
  Pair pair;
  pair.BecomeReady();
  StreamReader reader;
  pair.Submit(Ask("a", 1, 70, 30), reader);
  RunUntil(pair.first, reader, 5);
  pair.first.Lose(absl::UnavailableError("gone"));
  RunUntil(pair.second, reader, 9);
  // Its own group comes back, and nothing goes back to it.
  pair.first.BecomeReady();
  RunUntil(pair.second, reader, 30);
  CHECK(reader.ReadAll().ok());
  CHECK(reader.ids() == Undisturbed(16, 30));
  const std::vector<LossRecord> losses = pair.engine.replicas()[0]->losses();
  REQUIRE(losses.size() == 1);
  CHECK(losses[0].requests_moved == 1);
  CHECK(pair.engine.num_live() == 0);
}

TEST_CASE("several sequences of a request move together") {
  Pair pair;
  pair.second.RunBySelf();
  pair.BecomeReady();
  StreamReader reader;
  Request request = Ask("a", 1, 70, 20);
  request.n = request.best_of = 3;
  pair.Submit(request, reader);
  RunUntil(pair.first, reader, 8);
  pair.first.Lose(absl::UnavailableError("gone"));
  CHECK(reader.ReadAll().ok());
  CHECK(reader.ids().size() == 60);
  CHECK(std::accumulate(reader.ids().begin(), reader.ids().end(), 0u) ==
        [ids = Undisturbed(16, 20)] { return 3 * std::accumulate(ids.begin(), ids.end(), 0u); }());
}

TEST_CASE("a request stays where it is while no replica has room, and goes on when there is some") {
  Pair pair;
  GroupFacts facts = tests::FakeExecutor::Facts();
  facts.max_num_seqs = 1;
  pair.BecomeReady(facts);
  StreamReader a, b;
  pair.Submit(Ask("a", 1, 70, 10), a);  // goes to the first
  pair.Submit(Ask("b", 1, 71, 10), b);  // and this to the second
  RunUntil(pair.first, a, 3);
  RunUntil(pair.second, b, 3);
  pair.first.Lose(absl::UnavailableError("gone"));
  pair.AwaitAway(true);
  RunUntil(pair.second, b, 10);
  CHECK(b.ReadAll().ok());
  RunUntil(pair.second, a, 10);
  CHECK(a.ReadAll().ok());
  CHECK(a.ids() == Undisturbed(16, 10));
}

TEST_CASE("a request that has waited long for room goes where it must wait as well") {
  EngineOptions options;
  options.move_patience = absl::Milliseconds(1);
  Pair pair(options);
  StreamReader a, b;
  FillSeats(pair, a, b);
  pair.first.Lose(absl::UnavailableError("gone"));
  while (pair.engine.replicas()[0]->losses().empty() ||
         pair.engine.replicas()[0]->losses()[0].requests_moved == 0) {
    std::this_thread::yield();
  }
  pair.second.RunBySelf();
  CHECK(a.ReadAll().ok());
  CHECK(b.ReadAll().ok());
  CHECK(a.ids() == Undisturbed(16, 10));
}

TEST_CASE("a request that moves to a queue stands before those that came after it") {
  EngineOptions options;
  options.move_patience = absl::Milliseconds(200);
  Pair pair(options);
  StreamReader a, b, c;
  FillSeats(pair, a, b);
  pair.first.Lose(absl::UnavailableError("gone"));
  pair.Submit(Ask("c", 1, 72, 10), c);
  while (pair.engine.replicas()[0]->losses().empty() ||
         pair.engine.replicas()[0]->losses()[0].requests_moved == 0) {
    std::this_thread::yield();
  }
  pair.second.RunBySelf();
  for (StreamReader* reader : {&a, &b, &c}) CHECK(reader->ReadAll().ok());
  std::vector<uint32_t> begun;  // by what their prompts are made of
  for (const Step& step : pair.second.steps()) {
    for (const SequenceStart& start : step.starts) begun.push_back(start.token_ids[0]);
  }
  CHECK(begun == std::vector<uint32_t>{71, 70, 72});
}

TEST_CASE("requests that wait for a first group go to the replica that is ready first") {
  Pair pair;
  StreamReader a, b;
  pair.Submit(Ask("a", 1, 70, 4), a);
  pair.Submit(Ask("b", 1, 71, 4), b);
  pair.second.RunBySelf();
  pair.second.BecomeReady();
  CHECK(a.ReadAll().ok());
  CHECK(b.ReadAll().ok());
}

TEST_CASE("a request that has been in two dying groups is tried where it is") {
  Pair pair;
  pair.BecomeReady();
  StreamReader poison, other;
  pair.Submit(Ask("poison", 1, 70, 30), poison);
  RunUntil(pair.first, poison, 1);
  pair.first.Lose(absl::UnavailableError("first death"));
  // The second replica has it now; so it must have a step of it before it dies.
  while (pair.second.num_waiting() == 0) std::this_thread::yield();
  pair.first.BecomeReady();
  pair.AwaitAway(false);
  pair.second.Lose(absl::UnavailableError("second death"));
  pair.AwaitAway(true);
  // The first is ready and idle, and gets nothing but what comes now.
  pair.Submit(Ask("other", 1, 90, 3), other);
  RunUntil(pair.first, other, 3);
  CHECK(other.ReadAll().ok());
  pair.second.BecomeReady();
  while (pair.second.num_waiting() == 0) std::this_thread::yield();
  CHECK(pair.first.num_waiting() == 0);
  pair.second.Lose(absl::UnavailableError("third death"));
  const absl::Status status = poison.ReadAll();
  CHECK(absl::IsAborted(status));
  CHECK_THAT(std::string(status.message()), Catch::Contains("third death"));
}

TEST_CASE("a request that has moved can be cancelled, also while it is on its way") {
  for (int round = 0; round < 20; ++round) {
    Pair pair;
    pair.BecomeReady();
    StreamReader reader;
    const uint64_t key = pair.Submit(Ask("a", 1, 70, 400), reader);
    RunUntil(pair.first, reader, 2);
    std::thread canceller([&] { pair.engine.Cancel(key); });
    pair.first.Lose(absl::UnavailableError("gone"));
    canceller.join();
    CHECK(absl::IsCancelled(reader.ReadAll()));
    CHECK(pair.engine.num_live() == 0);
  }
}

TEST_CASE("a drain waits for requests that move, and cuts those off that arrive late") {
  for (bool cut : {false, true}) {
    Pair pair;
    pair.BecomeReady();
    StreamReader reader;
    pair.Submit(Ask("a", 1, 70, 20), reader);
    RunUntil(pair.first, reader, 2);
    pair.engine.BeginDrain();
    pair.first.Lose(absl::UnavailableError("gone"));
    if (cut) {
      pair.engine.CutDrain();
      CHECK_FALSE(pair.engine.FinishDrain(absl::InfiniteFuture()));
      CHECK(absl::IsUnavailable(reader.ReadAll()));
    } else {
      pair.second.RunBySelf();
      CHECK(pair.engine.FinishDrain(absl::InfiniteFuture()));
      CHECK(reader.ReadAll().ok());
      CHECK(reader.ids() == Undisturbed(16, 20));
    }
  }
}

}  // namespace
}  // namespace tessera::server
