// Two replicas of groups that compute nothing, behind one engine.
#ifndef TESSERA_TESTS_UNIT_SERVER_ENGINE_REPLICA_PAIR_H_
#define TESSERA_TESTS_UNIT_SERVER_ENGINE_REPLICA_PAIR_H_

#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <vector>

#include "server/engine/engine.h"
#include "tests/support/demo_tokenizer.h"
#include "tests/support/fake_executor.h"
#include "tests/unit/server_engine/stream_reader.h"

namespace tessera::server {

inline Request Ask(const std::string& id, size_t blocks, uint32_t token, uint32_t max_tokens = 1) {
  Request request;
  request.id = id;
  request.prompt.assign(blocks * 16, token);
  request.max_tokens = max_tokens;
  return request;
}

struct Pair {
  explicit Pair(const EngineOptions& options = {})
      : first(tests::FakeExecutor::Counting(65)),
        second(tests::FakeExecutor::Counting(65)),
        engine(options, tests::DemoTokenizer(), {{&first, &counters[0]}, {&second, &counters[1]}},
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
  void BecomeReady(const GroupFacts& facts = tests::FakeExecutor::Facts()) {
    first.BecomeReady(facts);
    second.BecomeReady(facts);
    Await(EngineState::kReady);
  }
  // The condition that was told last, once it is this one.
  EngineCondition Await(EngineState state) {
    MutexLock lock(mutex);
    while (told.empty() || told.back().state != state) changed.Wait(mutex);
    return told.back();
  }
  // Waits until one of the replicas is told to be away, or back.
  void AwaitAway(bool away) {
    MutexLock lock(mutex);
    while (told.empty() || told.back().why.empty() == away) changed.Wait(mutex);
  }
  uint64_t Submit(const Request& request, StreamReader& reader) {
    auto key = engine.Submit(request, reader.stream());
    REQUIRE(key.ok());
    return *key;
  }
  // The answer's end.
  absl::Status Run(const Request& request) {
    StreamReader reader;
    Submit(request, reader);
    return reader.ReadAll();
  }

  tests::FakeExecutor first, second;
  Counters counters[2];
  Mutex mutex;
  CondVar changed;
  std::vector<EngineCondition> told ABSL_GUARDED_BY(mutex);
  Engine engine;
};

}  // namespace tessera::server

#endif  // TESSERA_TESTS_UNIT_SERVER_ENGINE_REPLICA_PAIR_H_
