#include "worker/sim/sim_group.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace tessera::worker {
namespace {

absl::Duration Ms(int64_t count) { return absl::Milliseconds(count); }

// Two stages of one rank each; a step takes 2 ms on each and nothing else.
SimGroupOptions TwoStages() {
  SimGroupOptions options;
  options.latency = {.fixed_us = 4000, .token_us = 0, .kv_gbps = 1};
  options.stages = {{.layers = 0.5}, {.layers = 0.5}};
  options.limits = {.vocab_size = 50,
                    .block_tokens = 16,
                    .num_kv_blocks = 8,
                    .max_model_len = 40,
                    .max_num_batched_tokens = 32,
                    .max_num_seqs = 4,
                    .max_logprobs = 2};
  options.num_ranks = 2;
  return options;
}

SequenceStart Start(uint64_t sequence, std::vector<uint32_t> ids, uint32_t prompt_length) {
  SequenceStart start;
  start.sequence = sequence;
  start.token_ids = std::move(ids);
  start.prompt_length = prompt_length;
  start.max_tokens = 30;
  start.sampling.seed = 11;
  return start;
}

StepInput First(const SequenceStart& start) {
  StepInput step;
  step.step = 1;
  step.starts = {start};
  step.entries = {{start.sequence, static_cast<uint32_t>(start.token_ids.size()), {0, 1, 2}}};
  return step;
}

StepInput Go(uint64_t number, uint64_t sequence) {
  StepInput step;
  step.step = number;
  step.entries = {{sequence, 1, {}}};
  return step;
}

std::shared_ptr<const SimStep> Run(SimGroup& group, int rank, const StepInput& step,
                                   absl::Duration now) {
  auto result = group.Next(rank, step.step, now, [&step] { return step; });
  INFO(result.status().ToString());
  REQUIRE(result.ok());
  return *result;
}

TEST_CASE("the first rank decides a step, and the others get the same one") {
  SimGroup group(TwoStages());
  const StepInput step = First(Start(1, {3, 4}, 2));
  const auto first = Run(group, 0, step, Ms(1));
  auto second = group.Next(1, 1, Ms(9), []() -> StepInput { throw "decoded again"; });
  REQUIRE(second.ok());
  CHECK(*second == first);
  CHECK(first->stages == std::vector<Busy>{{Ms(1), Ms(3)}, {Ms(3), Ms(5)}});
  CHECK(first->load.tokens == 2);
  REQUIRE(first->output.results.size() == 1);
  CHECK(first->output.results[0].tokens.size() == 1);
}

TEST_CASE("a step waits for the ids of the step before, unless it has other sequences") {
  SimGroup group(TwoStages());
  Run(group, 0, First(Start(1, {3, 4}, 2)), Ms(0));
  StepInput other = First(Start(2, {5}, 1));
  other.step = 2;
  CHECK(Run(group, 0, other, Ms(1))->stages[0] == Busy{Ms(2), Ms(4)});
  // Sequence 1 has its id at 4 ms, when the second stage ends.
  CHECK(Run(group, 0, Go(3, 1), Ms(1))->stages[0] == Busy{Ms(4), Ms(6)});
  // Sequence 2 has its own at 6 ms.
  CHECK(Run(group, 0, Go(4, 2), Ms(2))->stages[0] == Busy{Ms(6), Ms(8)});
}

TEST_CASE("a replay from the log goes on as the first run did") {
  SimGroup group(TwoStages());
  std::vector<uint32_t> log = {3, 4};
  std::vector<uint32_t> drawn;
  uint64_t step = 1;
  auto result = Run(group, 0, First(Start(1, log, 2)), Ms(0));
  while (drawn.size() < 8) {
    drawn.push_back(result->output.results[0].tokens[0].id);
    result = Run(group, 0, Go(++step, 1), Ms(0));
  }
  SimGroup again(TwoStages());
  log.insert(log.end(), drawn.begin(), drawn.begin() + 5);
  result = Run(again, 0, First(Start(9, log, 2)), Ms(0));
  CHECK(result->output.results[0].tokens[0].id == drawn[5]);
  CHECK(Run(again, 0, Go(2, 9), Ms(0))->output.results[0].tokens[0].id == drawn[6]);
}

TEST_CASE("stop ids and max_tokens end a sequence as they do in the runner") {
  SimGroup probe(TwoStages());
  const uint32_t id = Run(probe, 0, First(Start(1, {3}, 1)), Ms(0))->output.results[0].tokens[0].id;
  SimGroup group(TwoStages());
  SequenceStart start = Start(1, {3}, 1);
  start.stop_token_ids = {id};
  CHECK(Run(group, 0, First(start), Ms(0))->output.results[0].finish == Finish::kStop);
  start.sequence = 2;
  start.min_tokens = 1;
  start.max_tokens = 1;
  StepInput second = First(start);
  second.step = 2;
  const SequenceResult masked = Run(group, 0, second, Ms(0))->output.results[0];
  CHECK(masked.finish == Finish::kLength);
  CHECK(masked.tokens[0].id != id);
}

TEST_CASE("a step that contradicts what is known is refused on every rank, and changes nothing") {
  SimGroup group(TwoStages());
  for (int rank = 0; rank < 2; ++rank) {
    const auto result = group.Next(rank, 1, Ms(0), [] { return Go(1, 7); });
    CHECK(absl::IsInternal(result.status()));
  }
  CHECK(Run(group, 0, First(Start(7, {1}, 1)), Ms(0))->output.results.size() == 1);
}

TEST_CASE("a rank that is told another step than its peers says so") {
  SimGroup group(TwoStages());
  Run(group, 0, First(Start(1, {1}, 1)), Ms(0));
  const auto result = group.Next(1, 5, Ms(0), [] { return StepInput(); });
  CHECK(std::string(result.status().message()).find("step 5") != std::string::npos);
}

TEST_CASE("the poison token is noticed in the chunk that computes it") {
  SimGroupOptions options = TwoStages();
  std::vector<uint64_t> poisoned;
  options.poison_token = 42;
  options.on_poison = [&poisoned](uint64_t sequence) { poisoned.push_back(sequence); };
  SimGroup group(std::move(options));
  StepInput step = First(Start(6, {1, 2, 42}, 3));
  step.entries[0].num_tokens = 2;
  Run(group, 0, step, Ms(0));
  CHECK(poisoned.empty());
  Run(group, 0, Go(2, 6), Ms(0));
  CHECK(poisoned == std::vector<uint64_t>{6});
}

TEST_CASE("what needs logits fails its sequence alone") {
  SimGroup group(TwoStages());
  SequenceStart start = Start(1, {10}, 1);
  start.restrictions.allowed_ids = {3};
  const SequenceResult result = Run(group, 0, First(start), Ms(0))->output.results[0];
  CHECK(result.finish == Finish::kFailed);
  CHECK(result.error.find("allowed_token_ids") != std::string::npos);
}

TEST_CASE("a beam is told what may follow, beside the alternatives that it asked for") {
  SimGroup group(TwoStages());
  SequenceStart start = Start(1, {10}, 1);
  start.candidates = 2;
  start.logprobs = 1;
  const Token token = Run(group, 0, First(start), Ms(0))->output.results[0].tokens.at(0);
  REQUIRE(token.candidates.size() == 2);
  CHECK(token.candidates[0].id == token.id);
  CHECK(token.top.size() == 1);
}

TEST_CASE("prompt logprobs are told for the chunk's positions") {
  SimGroup group(TwoStages());
  SequenceStart start = Start(1, {10, 11, 12}, 3);
  start.prompt_logprobs = 1;
  const SequenceResult result = Run(group, 0, First(start), Ms(0))->output.results[0];
  CHECK(result.prompt_position == 1);
  REQUIRE(result.prompt_tokens.size() == 2);
  CHECK(result.prompt_tokens[0].id == 11);
  CHECK(result.prompt_tokens[1].id == 12);
}

}  // namespace
}  // namespace tessera::worker
