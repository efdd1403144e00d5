#include "worker/runner/lagged_step.h"

#include <catch2/catch.hpp>
#include <utility>
#include <vector>

#include "tests/unit/worker_runner/small_sequences.h"
#include "worker/model/decoder.h"

namespace tessera::worker {
namespace {

// Ends at 99.
SequenceStart Stopping(uint64_t sequence, uint32_t tokens, uint32_t max_tokens = 10) {
  SequenceStart start = Start(sequence, tokens, max_tokens);
  start.stop_token_ids = {99};
  return start;
}

// Steps of a table, each behind the one before.
struct Steps {
  Steps() : table(Limits()) {}

  LaggedStep Next(std::vector<SequenceStart> starts, std::vector<SequenceStep> entries) {
    StepInput step;
    step.step = ++number;
    step.starts = std::move(starts);
    step.entries = std::move(entries);
    const auto work = table.Begin(step);
    REQUIRE(work.ok());
    std::vector<LogitRow> rows;
    for (size_t w = 0; w < work->size(); ++w) {
      if ((*work)[w].draws) rows.push_back({w, (*work)[w].end - 1});
    }
    LaggedStep lagged(step.step, *work, rows);
    lagged.AdvanceAhead(&table);
    return lagged;
  }
  StepOutput Resolve(const LaggedStep& step, std::vector<DrawRecord> records, LaggedStep* next) {
    return step.Resolve(records, std::vector<SequenceResult>(records.size()), &table, next);
  }
  SequenceTable table;
  uint64_t number = 0;
};

DrawRecord Drawn(uint32_t id) { return {DrawRecord::kDrawn, {id}, {}}; }

TEST_CASE("a sequence goes on behind the place of a token, whose id comes later") {
  Steps steps;
  const LaggedStep first = steps.Next({Stopping(1, 5)}, {{1, 5, {0}}});
  CHECK(steps.table.Find(1)->start.token_ids.back() == kUnknownId);
  LaggedStep second = steps.Next({}, {{1, 1, {}}});
  CHECK(second.work().at(0).begin == 5);
  std::vector<uint32_t> ids = {kUnknownId};
  first.FillUnknown(second.work(), &ids);
  CHECK(ids[0] == kDrawnIds + 0);

  const StepOutput output = steps.Resolve(first, {Drawn(42)}, &second);
  REQUIRE(output.results.size() == 1);
  CHECK(output.results[0].finish == Finish::kRunning);
  CHECK(steps.table.Find(1)->start.token_ids.at(5) == 42);
  CHECK(steps.table.Find(1)->start.token_ids.at(6) == kUnknownId);
  steps.Resolve(second, {Drawn(43)}, nullptr);
  CHECK(steps.table.Find(1)->start.token_ids.at(6) == 43);
}

TEST_CASE("what was computed behind a stop is forgotten") {
  Steps steps;
  const LaggedStep first = steps.Next({Stopping(1, 5), Stopping(2, 3)}, {{1, 5, {0}}, {2, 3, {1}}});
  LaggedStep second = steps.Next({}, {{1, 1, {}}, {2, 1, {}}});
  const StepOutput output = steps.Resolve(first, {Drawn(99), Drawn(42)}, &second);
  CHECK(output.results.at(0).finish == Finish::kStop);
  CHECK(output.results.at(1).finish == Finish::kRunning);
  CHECK(steps.table.Find(1)->known() == 6);
  const StepOutput behind = steps.Resolve(second, {Drawn(1), Drawn(43)}, nullptr);
  REQUIRE(behind.results.size() == 1);  // the other had ended before
  CHECK(behind.results[0].sequence == 2);
  CHECK(steps.table.Find(1)->finish == Finish::kStop);
}

TEST_CASE("the number of tokens ends a sequence before they are known") {
  Steps steps;
  const LaggedStep first = steps.Next({Stopping(1, 5, 1)}, {{1, 5, {0}}});
  LaggedStep second = steps.Next({}, {{1, 1, {}}});
  CHECK(second.work().empty());
  CHECK(steps.Resolve(first, {Drawn(42)}, &second).results.at(0).finish == Finish::kLength);
  CHECK(steps.table.Find(1)->finish == Finish::kLength);
}

TEST_CASE("a token that cannot be drawn ends its sequence") {
  Steps steps;
  const LaggedStep first = steps.Next({Stopping(1, 5)}, {{1, 5, {0}}});
  LaggedStep second = steps.Next({}, {{1, 1, {}}});
  const StepOutput output = steps.Resolve(first, {{DrawRecord::kFailed, {}, {}}}, &second);
  CHECK(output.results.at(0).finish == Finish::kFailed);
  CHECK(steps.Resolve(second, {Drawn(1)}, nullptr).results.empty());
  CHECK(steps.table.Find(1)->known() == 5);
}

TEST_CASE("a step that needs the ids, or ends a sequence, waits for them") {
  Steps steps;
  SequenceStart penalized = Stopping(2, 3);
  penalized.sampling.presence_penalty = 0.5f;
  const LaggedStep first = steps.Next({Stopping(1, 5), penalized}, {{1, 5, {0}}, {2, 3, {1}}});
  StepInput step;
  step.entries = {{1, 1, {}}};
  CHECK(first.CanBeFollowedBy(step));
  step.entries.push_back({2, 1, {}});
  CHECK_FALSE(first.CanBeFollowedBy(step));
  step.entries = {};
  step.ends = {1};
  CHECK_FALSE(first.CanBeFollowedBy(step));
}

}  // namespace
}  // namespace tessera::worker
