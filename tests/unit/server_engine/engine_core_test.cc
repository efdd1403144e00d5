#include "server/engine/engine_core.h"

#include <catch2/catch.hpp>
#include <set>

#include "proto/rpc/error_site.h"
#include "proto/rpc/status.h"
#include "tests/support/demo_tokenizer.h"
#include "tests/support/fake_executor.h"

namespace tessera::server {
namespace {

using tests::DemoTokenizer;
using tests::FakeExecutor;

// What a reader has got of an answer.
struct Answer {
  std::string text;
  std::vector<uint32_t> ids;
  std::optional<AcceptedEvent> accepted;
  std::optional<FinishedEvent> finished;
  std::optional<absl::Status> status;
};

// An engine core over a fake group, with a clock that stands still until it is set. Prompts of
// three tokens draw "a", "b", "c", ...
class Harness : public ExecutorEvents {
 public:
  explicit Harness(EngineOptions options = {})
      : executor(FakeExecutor::Counting(65)),
        options_(options),
        core(options, {.tokenizer = &DemoTokenizer(),
                       .executor = &executor,
                       .counters = &counters,
                       .losses = &losses,
                       .on_end = [this](const Request& request) { ended.push_back(request.id); },
                       .on_drained = [this](uint64_t key) { core.Drained(key); }}) {
    executor.Start(this);
  }

  uint64_t Submit(Request request) {
    uint64_t key = next_key_++;
    if (request.id.empty()) request.id = "r" + std::to_string(key);
    streams_[key] = std::make_shared<ResponseStream>(options_.max_buffered_bytes);
    core.Submit(key, std::move(request), streams_[key]);
    return key;
  }

  // Ticks, and runs a step if one is under way.
  bool Step() {
    core.Tick(now);
    return executor.RunStep();
  }
  void RunAll() {
    while (Step()) {
    }
  }

  Answer& Read(uint64_t key) {
    Answer& answer = answers_[key];
    while (auto event = streams_.at(key)->Take()) {
      if (auto* accepted = std::get_if<AcceptedEvent>(&*event)) answer.accepted = *accepted;
      if (auto* finished = std::get_if<FinishedEvent>(&*event)) answer.finished = *finished;
      if (auto* status = std::get_if<absl::Status>(&*event)) answer.status = *status;
      if (auto* delta = std::get_if<DeltaEvent>(&*event)) {
        answer.text += delta->text;
        for (const Token& token : delta->tokens) answer.ids.push_back(token.id);
      }
    }
    return answer;
  }

  uint64_t free_blocks() {
    core.Tick(now);
    return counters.kv_blocks_free;
  }

  void OnReady(uint64_t epoch, const GroupFacts& facts) override {
    core.OnReady(epoch, facts, now);
  }
  void OnStep(uint64_t epoch, StepResult result) override { core.OnStep(epoch, std::move(result)); }
  void OnLost(uint64_t epoch, const absl::Status& why) override { core.OnLost(epoch, why, now); }
  void OnSetback(uint64_t epoch, const absl::Status& why) override {
    core.OnSetback(epoch, why, now);
  }
  void OnFailed(const absl::Status& why) override { core.OnFailed(why); }

  FakeExecutor executor;
  Counters counters;
  LossLog losses;
  std::vector<std::string> ended;
  absl::Time now = absl::UnixEpoch();

 private:
  const EngineOptions options_;
  uint64_t next_key_ = 1;
  std::map<uint64_t, std::shared_ptr<ResponseStream>> streams_;
  std::map<uint64_t, Answer> answers_;

 public:
  EngineCore core;
};

Request Ask(uint32_t max_tokens) {
  Request request;
  request.prompt = {0, 90, 91};
  request.max_tokens = max_tokens;
  request.sampling.seed = 42;
  return request;
}

TEST_CASE("a request is accepted, answered and finished, and its blocks are free again") {
  Harness engine;
  engine.executor.BecomeReady();
  uint64_t key = engine.Submit(Ask(4));
  CHECK(engine.Read(key).accepted->seed == 42);
  CHECK(engine.Read(key).accepted->numerics_id == "fake-numerics");
  CHECK(engine.Read(key).accepted->weights_version == "fake-weights");
  engine.RunAll();
  Answer& answer = engine.Read(key);
  CHECK(answer.text == "abcd");
  CHECK(answer.ids == std::vector<uint32_t>{68, 69, 70, 71});
  REQUIRE(answer.finished.has_value());
  CHECK(answer.finished->reason == FinishReason::kLength);
  CHECK(answer.finished->prompt_tokens == 3);
  CHECK(answer.finished->completion_tokens == 4);
  CHECK(answer.status->ok());
  CHECK(engine.ended == std::vector<std::string>{"r1"});
  CHECK(engine.free_blocks() == 64);
  CHECK(engine.counters.completion_tokens_total == 4);
}

TEST_CASE("figures tell where the time of steps and requests goes") {
  Harness engine;
  engine.executor.BecomeReady();
  engine.core.At(engine.now);
  engine.Submit(Ask(3));
  auto pass = [&engine](int milliseconds) { engine.now += absl::Milliseconds(milliseconds); };
  auto run_step = [&] {
    engine.core.At(engine.now);
    REQUIRE(engine.executor.RunStep());
  };
  pass(2);
  engine.core.Tick(engine.now);
  pass(10);
  run_step();
  pass(1);
  engine.core.Tick(engine.now);
  pass(5);
  run_step();
  engine.core.Tick(engine.now);
  pass(5);
  run_step();
  const Counters& counters = engine.counters;
  CHECK(counters.queue_time.Read().sum_seconds == Approx(0.002));
  CHECK(counters.time_to_first_token.Read().sum_seconds == Approx(0.012));
  CHECK(counters.inter_token.Read().count == 2);
  CHECK(counters.inter_token.Read().sum_seconds == Approx(0.006 + 0.005));
  CHECK(counters.end_to_end.Read().sum_seconds == Approx(0.023));
  CHECK(counters.step_time.Read().sum_seconds == Approx(0.010 + 0.016 + 0.010));
  CHECK(counters.workers_ns == 21'000'000);
  CHECK(counters.server_ns == 0);
  CHECK(counters.prefill_tokens_total == 3);
}

TEST_CASE("a token is in the log before its reader sees it") {
  Harness engine;
  engine.executor.BecomeReady();
  uint64_t key = engine.Submit(Ask(4));
  engine.Step();
  CHECK(engine.Read(key).text == "a");
  engine.Step();
  CHECK(engine.Read(key).text == "ab");
}

TEST_CASE("requests wait for a group that is not there yet, in their order") {
  Harness engine;
  uint64_t first = engine.Submit(Ask(1));
  uint64_t second = engine.Submit(Ask(1));
  engine.RunAll();
  CHECK_FALSE(engine.Read(first).accepted.has_value());
  CHECK(engine.core.queue().requests == 2);
  engine.executor.BecomeReady();
  engine.RunAll();
  CHECK(engine.core.queue().requests == 0);
  CHECK(engine.Read(first).text == "a");
  CHECK(engine.Read(second).text == "a");
  CHECK(engine.ended == std::vector<std::string>{"r1", "r2"});
}

TEST_CASE("a stop string ends the workers' sequence too") {
  Harness engine;
  engine.executor.BecomeReady();
  Request request = Ask(20);
  request.stop_strings = {"bc"};
  uint64_t key = engine.Submit(request);
  engine.RunAll();
  CHECK(engine.Read(key).text == "a");
  CHECK(engine.Read(key).finished->stop_string == "bc");
  engine.Submit(Ask(1));
  engine.RunAll();
  CHECK(engine.executor.steps().back().ends == std::vector<uint64_t>{key});
}

TEST_CASE("a cancelled request frees its blocks at once: waiting, in a step, between steps") {
  Harness engine;
  uint64_t waiting = engine.Submit(Ask(5));
  engine.core.Cancel(waiting, absl::CancelledError("left"));
  CHECK(absl::IsCancelled(*engine.Read(waiting).status));
  engine.executor.BecomeReady();

  uint64_t in_step = engine.Submit(Ask(5));
  engine.core.Tick(engine.now);
  CHECK(engine.counters.kv_blocks_free == 63);
  engine.core.Cancel(in_step, absl::CancelledError("left"));
  CHECK(engine.free_blocks() == 64);
  while (engine.executor.RunStep()) {
  }  // its results are dropped
  CHECK(engine.Read(in_step).text == "");

  uint64_t between = engine.Submit(Ask(5));
  engine.Step();
  engine.core.Cancel(between, absl::CancelledError("left"));
  CHECK(engine.free_blocks() == 64);
  CHECK(engine.Read(between).text == "a");
  CHECK(engine.counters.requests_cancelled == 3);
}

TEST_CASE("a deadline ends a request that waits and one that runs") {
  Harness engine;
  Request request = Ask(500);
  request.deadline = engine.now + absl::Seconds(10);
  uint64_t running = engine.Submit(request);
  CHECK(engine.core.NextDeadline() == request.deadline);
  engine.executor.BecomeReady();
  engine.Step();
  engine.now += absl::Seconds(10);
  engine.core.Tick(engine.now);
  CHECK(absl::IsDeadlineExceeded(*engine.Read(running).status));
  CHECK(engine.core.NextDeadline() == absl::InfiniteFuture());
}

TEST_CASE("a slow reader pauses its sequence, and reading makes it go on") {
  Harness engine(EngineOptions{.max_buffered_bytes = 2000});
  engine.executor.BecomeReady();
  uint64_t slow = engine.Submit(Ask(500));
  engine.RunAll();  // until nothing is left to do: it is paused
  size_t steps = engine.executor.steps().size();
  CHECK(steps < 100);
  CHECK(engine.core.num_live() == 1);
  uint64_t other = engine.Submit(Ask(3));
  engine.RunAll();
  CHECK(engine.Read(other).text == "abc");
  for (int i = 0; i < 500 && !engine.Read(slow).finished; ++i) engine.RunAll();
  CHECK(engine.Read(slow).ids.size() == 500);
  CHECK(engine.Read(slow).status->ok());
}

TEST_CASE("a reader that stays away is cancelled after a long time") {
  Harness engine(
      EngineOptions{.max_buffered_bytes = 2000, .slow_reader_timeout = absl::Seconds(60)});
  engine.executor.BecomeReady();
  uint64_t slow = engine.Submit(Ask(500));
  engine.RunAll();
  CHECK(engine.core.NextDeadline() == engine.now + absl::Seconds(60));
  engine.now += absl::Seconds(60);
  engine.core.Tick(engine.now);
  CHECK(absl::IsCancelled(*engine.Read(slow).status));
  CHECK(engine.Read(slow).text == "");  // what was buffered is dropped
  CHECK(engine.free_blocks() == 64);
}

TEST_CASE("a lost group's requests go on from their logs on the next one") {
  Harness engine;
  GroupFacts facts = FakeExecutor::Facts();
  facts.max_num_seqs = 1;
  engine.executor.BecomeReady(facts);
  Request request = Ask(8);
  request.stop_strings = {"ef"};
  uint64_t running = engine.Submit(request);
  uint64_t waiting = engine.Submit(Ask(2));
  for (int i = 0; i < 3; ++i) engine.Step();
  engine.core.Tick(engine.now);  // a step is under way when the group is lost
  engine.executor.Lose(absl::UnavailableError("rank 1: killed by signal 9"));
  CHECK(engine.Read(running).text == "abc");
  engine.RunAll();
  CHECK_FALSE(engine.Read(running).status.has_value());
  const size_t before = engine.executor.steps().size();
  engine.executor.BecomeReady(facts);
  engine.core.Tick(engine.now);
  SequenceStart start = engine.executor.steps().at(before).starts.at(0);
  CHECK(start.sequence > running);  // the number is new, the log is not
  CHECK(start.token_ids == std::vector<uint32_t>{0, 90, 91, 68, 69, 70});
  CHECK(start.prompt_length == 3);
  CHECK(start.max_tokens == 8);
  CHECK(start.sampling.seed == 42);
  engine.RunAll();
  CHECK(engine.Read(running).text == "abcd");
  CHECK(engine.Read(running).finished->stop_string == "ef");
  CHECK(engine.Read(running).status->ok());
  CHECK(engine.Read(waiting).text == "ab");
  CHECK(engine.counters.requests_failed == 0);
}

TEST_CASE("prompt logprobs are not sent again after a loss, and none is missing") {
  for (int steps_before : {1, 2, 3, 4}) {  // three of which compute the prompt
    Harness engine;
    GroupFacts facts = FakeExecutor::Facts();
    facts.max_num_batched_tokens = 8;
    facts.max_num_seqs = 2;
    engine.executor.BecomeReady(facts);
    Request request = Ask(4);
    request.prompt.assign(20, 70);
    request.prompt_logprobs = 0;
    uint64_t key = engine.Submit(request);
    for (int i = 0; i < steps_before; ++i) engine.Step();
    engine.executor.Lose(absl::UnavailableError("gone"));
    size_t before = engine.executor.steps().size();
    engine.executor.BecomeReady(facts);
    engine.core.Tick(engine.now);
    bool sent = steps_before >= 3;
    CHECK(engine.executor.steps().at(before).starts.at(0).prompt_logprobs.has_value() == !sent);
    engine.RunAll();
    REQUIRE(engine.Read(key).accepted.has_value());
    CHECK(engine.Read(key).accepted->prompt_logprobs.size() == 19);
    CHECK(engine.Read(key).ids.size() == 4);
  }
}

TEST_CASE("the request that kills its group is given up alone, and all others end as they should") {
  Harness engine;
  engine.executor.BecomeReady();
  constexpr uint32_t kPoison = 7;  // the first token of its prompt
  std::vector<uint64_t> keys;
  for (int i = 0; i < 32; ++i) {
    Request request = Ask(3);
    if (i == 19) request.prompt.front() = kPoison;
    keys.push_back(engine.Submit(request));
  }
  const uint64_t poison = keys[19];
  std::set<uint64_t> poisonous;  // sequences: a new one after each loss
  int deaths = 0;
  for (int i = 0; i < 200 && engine.core.num_live() > 0; ++i) {
    engine.core.Tick(engine.now);
    const size_t waiting = engine.executor.num_waiting();
    if (waiting == 0) continue;
    const std::vector<server::Step> steps = engine.executor.steps();
    for (const server::Step& step : steps) {
      for (const SequenceStart& start : step.starts) {
        if (start.token_ids.front() == kPoison) poisonous.insert(start.sequence);
      }
    }
    const std::vector<SequenceStep>& entries = steps[steps.size() - waiting].entries;
    bool dies = std::any_of(entries.begin(), entries.end(),
                            [&](const auto& entry) { return poisonous.count(entry.sequence) > 0; });
    if (!dies) {
      engine.executor.RunStep();
      continue;
    }
    ++deaths;
    absl::Status why = absl::UnavailableError("rank 1: was killed by signal 11");
    rpc::SetErrorSite(why, {.rank = 1, .file = "worker/x.cc", .line = 7});
    engine.executor.Lose(why);
    engine.executor.BecomeReady();
  }
  CHECK(deaths >= 3);
  CHECK(deaths <= 8);
  for (uint64_t key : keys) {
    INFO(key);
    Answer& answer = engine.Read(key);
    REQUIRE(answer.status.has_value());
    if (key == poison) {
      INFO(*answer.status);
      CHECK(absl::IsAborted(*answer.status));
      CHECK(rpc::GetErrorSite(*answer.status).rank == 1);
      CHECK(rpc::GetErrorSite(*answer.status).line == 7);
    } else {
      CHECK(answer.status->ok());
      CHECK(answer.text == "abc");
    }
  }
}

TEST_CASE("a loss is recorded with its cause, rank, pause and what is replayed") {
  Harness engine;
  engine.executor.BecomeReady();
  engine.Submit(Ask(5));
  engine.Step();
  engine.Step();
  absl::Status why = absl::UnavailableError("rank 1: was killed by signal 9");
  rpc::SetErrorSite(why, {.rank = 1});
  engine.executor.Lose(why);
  REQUIRE(engine.losses.Read().size() == 1);
  CHECK_FALSE(engine.losses.Read()[0].pause.has_value());
  engine.now += absl::Milliseconds(300);
  engine.executor.BecomeReady();
  LossRecord loss = engine.losses.Read()[0];
  CHECK(loss.epoch == 1);
  CHECK(loss.rank == 1);
  CHECK(loss.cause == "rank 1: was killed by signal 9");
  CHECK(loss.pause == absl::Milliseconds(300));
  CHECK(loss.requests_replayed == 1);
  CHECK(loss.tokens_replayed == 5);  // three of the prompt and two generated
  CHECK(engine.counters.tokens_replayed_total == 5);
}

TEST_CASE("losses of a group that is being made are recorded too, and all end when it is ready") {
  Harness engine;
  auto of_rank = [](uint32_t rank, const std::string& cause) {
    absl::Status why = absl::UnavailableError(cause);
    rpc::SetErrorSite(why, {.rank = rank});
    return why;
  };
  engine.executor.Setback(of_rank(3, "rank 3: did not come"));
  engine.now += absl::Milliseconds(50);
  engine.executor.BecomeReady();
  engine.Submit(Ask(5));
  engine.Step();
  engine.executor.Lose(of_rank(1, "rank 1: was killed by signal 9"));
  engine.now += absl::Milliseconds(100);
  engine.executor.Setback(of_rank(0, "rank 0: ended with exit code 1"));
  CHECK_FALSE(engine.losses.Read()[1].pause.has_value());
  CHECK_FALSE(engine.losses.Read()[2].pause.has_value());
  engine.now += absl::Milliseconds(200);
  engine.executor.BecomeReady();
  const std::vector<LossRecord> losses = engine.losses.Read();
  REQUIRE(losses.size() == 3);
  CHECK(losses[0].rank == 3);
  CHECK(losses[0].pause == absl::Milliseconds(50));
  CHECK_FALSE(losses[0].was_ready);
  CHECK(losses[1].was_ready);
  CHECK(losses[1].pause == absl::Milliseconds(300));
  CHECK(losses[1].requests_replayed == 1);
  CHECK(losses[2].rank == 0);
  CHECK(losses[2].cause == "rank 0: ended with exit code 1");
  CHECK(losses[2].epoch == losses[1].epoch + 1);
  CHECK(losses[2].pause == absl::Milliseconds(200));
  CHECK_FALSE(losses[2].was_ready);
}

TEST_CASE("a request whose reader leaves, or whose time is over, ends while the group is away") {
  Harness engine;
  engine.executor.BecomeReady();
  uint64_t left = engine.Submit(Ask(5));
  Request request = Ask(5);
  request.deadline = engine.now + absl::Seconds(10);
  uint64_t late = engine.Submit(request);
  engine.Step();
  const size_t before = engine.executor.steps().size();
  engine.executor.Lose(absl::UnavailableError("gone"));
  engine.core.Cancel(left, absl::CancelledError("left"));
  CHECK(absl::IsCancelled(*engine.Read(left).status));
  engine.now += absl::Seconds(10);
  engine.core.Tick(engine.now);
  CHECK(absl::IsDeadlineExceeded(*engine.Read(late).status));
  engine.executor.BecomeReady();
  engine.RunAll();
  CHECK(engine.executor.steps().size() == before);
}

TEST_CASE("usage counts the tokens of the prompt that were found in the cache") {
  Harness engine;
  engine.executor.BecomeReady();
  Request request = Ask(2);
  request.prompt.assign(40, 70);
  uint64_t first = engine.Submit(request);
  engine.RunAll();
  uint64_t second = engine.Submit(request);
  engine.RunAll();
  CHECK(engine.Read(first).finished->cached_tokens == 0);
  CHECK(engine.Read(second).finished->cached_tokens == 32);
  CHECK(engine.Read(second).text == engine.Read(first).text);
  request.prompt_logprobs = 0;  // of cached tokens there are none
  uint64_t third = engine.Submit(request);
  engine.RunAll();
  CHECK(engine.Read(third).finished->cached_tokens == 0);
  CHECK(engine.Read(third).accepted->prompt_logprobs.size() == 39);
  request.prompt_logprobs.reset();
  request.echo = true;
  uint64_t fourth = engine.Submit(request);
  engine.RunAll();
  CHECK(engine.Read(fourth).finished->cached_tokens == 0);
  CHECK(engine.Read(fourth).text == engine.Read(first).text);
}

// A cache that holds one sequence, with slots beside it.
GroupFacts WithSlots() {
  GroupFacts facts = FakeExecutor::Facts();
  facts.num_kv_blocks = 3;
  facts.max_model_len = 48;
  facts.num_kv_slots = 8;
  return facts;
}
Request Prompt(uint32_t id) {
  Request request = Ask(2);
  request.prompt.assign(40, id);
  return request;
}

TEST_CASE("evicted blocks that are fetched count as cached, and their figures outlive a group") {
  Harness engine;
  engine.executor.BecomeReady(WithSlots());
  const uint64_t first = engine.Submit(Prompt(70));
  engine.RunAll();
  engine.Submit(Prompt(71));
  engine.RunAll();
  CHECK(engine.counters.kv_slots_total == 8);
  CHECK(engine.counters.kv_slots_used == 2);
  CHECK(engine.counters.blocks_spilled_total == 2);
  CHECK(engine.counters.blocks_fetched_total == 0);
  const uint64_t again = engine.Submit(Prompt(70));
  engine.RunAll();
  CHECK(engine.Read(first).finished->cached_tokens == 0);
  CHECK(engine.Read(again).finished->cached_tokens == 32);
  CHECK(engine.Read(again).ids == engine.Read(first).ids);
  CHECK(engine.counters.blocks_spilled_total == 4);
  CHECK(engine.counters.blocks_fetched_total == 2);
  CHECK(engine.counters.fetched_tokens_total == 32);
  CHECK(engine.counters.prefill_tokens_total == 40 + 40 + 8);

  // The next group's slots are empty.
  engine.executor.Lose(absl::UnavailableError("rank 0: killed"));
  engine.executor.BecomeReady(WithSlots());
  const uint64_t later = engine.Submit(Prompt(71));
  engine.RunAll();
  CHECK(engine.Read(later).finished->cached_tokens == 0);
  CHECK(engine.counters.kv_slots_used == 0);
  CHECK(engine.counters.blocks_spilled_total == 4);
  CHECK(engine.counters.fetched_tokens_total == 32);
}

TEST_CASE("evicted blocks are computed again where steps have shown that to be cheaper") {
  for (const bool cheap : {true, false}) {
    Harness engine;
    GroupFacts facts = WithSlots();
    facts.kv_fetch_seconds = cheap ? 0.002 : 0.02;
    engine.executor.BecomeReady(facts);
    for (uint32_t id : {70, 71, 70, 71}) {
      engine.Submit(Prompt(id));
      do {
        engine.core.Tick(engine.now);
        engine.now += absl::Milliseconds(20);  // of 40 tokens: 8 ms for a block
        engine.core.At(engine.now);
      } while (engine.executor.RunStep());
    }
    CHECK((engine.counters.blocks_fetched_total > 0) == cheap);
    CHECK((engine.counters.blocks_spilled_total > 0) == cheap);
  }
}

TEST_CASE("without a prefix cache everything is computed") {
  Harness engine(EngineOptions{.prefix_cache = false});
  engine.executor.BecomeReady();
  Request request = Ask(2);
  request.prompt.assign(40, 70);
  engine.Submit(request);
  engine.RunAll();
  uint64_t second = engine.Submit(request);
  engine.RunAll();
  CHECK(engine.Read(second).finished->cached_tokens == 0);
}

TEST_CASE("a step is sent while the one before it is under way, and says continue") {
  Harness engine;
  engine.executor.BecomeReady();
  uint64_t key = engine.Submit(Ask(3));
  engine.core.Tick(engine.now);
  REQUIRE(engine.executor.steps().size() == 2);
  CHECK(engine.executor.steps()[1].starts.empty());
  CHECK(engine.executor.steps()[1].entries[0].num_tokens == 1);
  engine.RunAll();
  CHECK(engine.Read(key).text == "abc");
  // The last token is never computed, and so no step is sent for it.
  CHECK(engine.executor.steps().size() == 3);
}

TEST_CASE("what the workers had drawn behind the end is dropped, and not counted") {
  Harness engine;
  engine.executor.BecomeReady();
  Request request = Ask(20);
  request.stop_strings = {"c"};
  uint64_t key = engine.Submit(request);
  engine.RunAll();
  CHECK(engine.Read(key).text == "ab");
  CHECK(engine.Read(key).finished->completion_tokens == 3);
  CHECK(engine.executor.steps().size() == 4);  // one more than the answer has
  CHECK(engine.free_blocks() == 64);
}

TEST_CASE("a request that cannot start before its deadline is dropped when it comes") {
  Harness engine;
  GroupFacts facts = FakeExecutor::Facts();
  facts.max_num_seqs = 1;
  engine.executor.BecomeReady(facts);
  Request request = Ask(1);
  request.prompt.assign(100, 70);
  for (int i = 0; i < 8; ++i) engine.Submit(request);
  // One prompt of 100 tokens leaves the queue every second.
  for (int i = 0; i < 4; ++i) {
    engine.now += absl::Seconds(1);
    engine.Step();
  }
  const size_t waiting = engine.core.queue().requests;
  REQUIRE(waiting >= 2);
  request.arrival = engine.now;
  request.deadline = engine.now + absl::Seconds(1);
  uint64_t late = engine.Submit(request);
  CHECK(absl::IsDeadlineExceeded(*engine.Read(late).status));
  CHECK_THAT(std::string(engine.Read(late).status->message()),
             Catch::Contains("cannot start before its deadline"));
  request.priority = 1;  // nobody of that priority is before it
  CHECK_FALSE(engine.Read(engine.Submit(request)).status.has_value());
  request.priority = 0;
  request.deadline = engine.now + absl::Seconds(60);
  CHECK_FALSE(engine.Read(engine.Submit(request)).status.has_value());
}

TEST_CASE("tenants that are isolated do not find each other's prefixes") {
  for (bool isolate : {false, true}) {
    Harness engine(EngineOptions{.isolate_tenants = isolate});
    engine.executor.BecomeReady();
    Request request = Ask(2);
    request.prompt.assign(40, 70);
    request.tenant = "a";
    engine.Submit(request);
    engine.RunAll();
    request.tenant = "b";
    uint64_t other = engine.Submit(request);
    engine.RunAll();
    CHECK((engine.Read(other).finished->cached_tokens == 0) == isolate);
  }
}

TEST_CASE("a higher priority comes first") {
  Harness engine;
  GroupFacts facts = FakeExecutor::Facts();
  facts.max_num_seqs = 1;
  Request request = Ask(1);
  engine.Submit(request);
  request.priority = 5;
  engine.Submit(request);
  engine.executor.BecomeReady(facts);
  engine.RunAll();
  CHECK(engine.ended == std::vector<std::string>{"r2", "r1"});
}

TEST_CASE("results of a former epoch are dropped") {
  Harness engine;
  engine.executor.BecomeReady();
  engine.Submit(Ask(5));
  engine.core.Tick(engine.now);
  engine.executor.Lose(absl::UnavailableError("gone"));
  engine.executor.BecomeReady();
  uint64_t key = engine.Submit(Ask(1));
  StepResult late;
  late.step = 1;
  late.results.push_back({.sequence = key, .admission = 1, .tokens = {{.id = 99}}});
  engine.core.OnStep(1, late);
  engine.RunAll();
  CHECK(engine.Read(key).text == "a");
}

TEST_CASE("a preempted sequence goes on from its log with the same answer") {
  Harness engine;
  GroupFacts facts = FakeExecutor::Facts();
  facts.num_kv_blocks = 5;
  facts.max_model_len = 64;
  engine.executor.BecomeReady(facts);
  Request request = Ask(0);
  request.max_tokens.reset();
  std::vector<uint64_t> keys;
  for (int i = 0; i < 4; ++i) keys.push_back(engine.Submit(request));
  engine.RunAll();
  CHECK(engine.counters.preemptions_total > 0);
  std::vector<uint32_t> expected;
  for (uint32_t id = 68; id < 68 + 61; ++id) expected.push_back(id);
  for (uint64_t key : keys) {
    CHECK(engine.Read(key).ids == expected);
    CHECK(engine.Read(key).finished->completion_tokens == 61);
  }
  CHECK(engine.free_blocks() == 5);
}

TEST_CASE("what can never fit the cache is refused with the field") {
  Harness engine;
  GroupFacts facts = FakeExecutor::Facts();
  facts.num_kv_blocks = 2;
  engine.executor.BecomeReady(facts);
  uint64_t key = engine.Submit(Ask(30));
  CHECK(absl::IsInvalidArgument(*engine.Read(key).status));
  CHECK(rpc::FieldViolation(*engine.Read(key).status) == "stop.max_tokens");
  uint64_t fits = engine.Submit(Ask(29));
  engine.RunAll();
  CHECK(engine.Read(fits).ids.size() == 29);
}

TEST_CASE("a group that cannot be made fails all requests, and says why") {
  Harness engine;
  uint64_t before = engine.Submit(Ask(5));
  engine.executor.Fail(absl::DataLossError("model.safetensors is truncated"));
  uint64_t after = engine.Submit(Ask(5));
  for (uint64_t key : {before, after}) {
    CHECK(absl::IsUnavailable(*engine.Read(key).status));
    CHECK(std::string(engine.Read(key).status->message()).find("truncated") != std::string::npos);
  }
}

TEST_CASE("prompt logprobs come with Accepted, which then waits for the prompt") {
  Harness engine;
  GroupFacts facts = FakeExecutor::Facts();
  facts.max_num_batched_tokens = 8;
  facts.max_num_seqs = 2;
  engine.executor.BecomeReady(facts);
  Request request = Ask(2);
  request.prompt.assign(20, 70);
  request.prompt_logprobs = 0;
  uint64_t key = engine.Submit(request);
  engine.Step();
  engine.Step();
  CHECK_FALSE(engine.Read(key).accepted.has_value());
  engine.RunAll();
  REQUIRE(engine.Read(key).accepted.has_value());
  CHECK(engine.Read(key).accepted->prompt_logprobs.size() == 19);
  CHECK(engine.Read(key).ids.size() == 2);
}

TEST_CASE("a continued request goes on at the position where it was") {
  Harness engine;
  engine.executor.BecomeReady();
  Request request = Ask(5);
  request.continue_from = {68, 69};
  uint64_t key = engine.Submit(request);
  engine.RunAll();
  CHECK(engine.Read(key).text == "cde");
  CHECK(engine.Read(key).finished->completion_tokens == 5);
  CHECK(engine.Read(key).finished->prompt_tokens == 3);
}

}  // namespace
}  // namespace tessera::server
