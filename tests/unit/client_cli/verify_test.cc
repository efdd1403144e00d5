#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "client/cli/verify_answers.h"
#include "client/cli/verify_layouts.h"
#include "client/cli/verify_trace.h"
#include "tests/support/fixtures.h"

namespace tessera::client {
namespace {

Completion Answer() {
  Completion answer;
  answer.accepted.prompt_token_ids = {5, 6};
  answer.accepted.prompt_logprobs = {{.token_id = 5}, {.token_id = 6, .logprob = -1.0f}};
  Sequence& sequence = answer.sequences.emplace_back();
  sequence.text = "ab";
  sequence.logprobs = {{.token_id = 7, .logprob = -0.5f, .top = {{7, -0.5f, "a"}}},
                       {.token_id = 8, .logprob = -0.25f}};
  return answer;
}

TEST_CASE("equal answers differ nowhere") {
  CHECK_FALSE(FirstDifference(Answer(), Answer()).has_value());
}

TEST_CASE("the first token or bit that differs is named with its position") {
  Completion last_bit = Answer();
  last_bit.sequences[0].logprobs[1].logprob = std::nextafter(-0.25f, 0.0f);
  auto difference = FirstDifference(Answer(), last_bit);
  REQUIRE(difference);
  CHECK(difference->position == 3);
  CHECK(difference->what == "token 8 (logprob -0.249999985) where token 8 (logprob -0.25) was due");

  Completion prompt = last_bit;
  prompt.accepted.prompt_logprobs[1].logprob = -2.0f;
  CHECK(FirstDifference(Answer(), prompt)->position == 1);

  Completion other_top = Answer();
  other_top.sequences[0].logprobs[0].top[0].logprob = -0.75f;
  difference = FirstDifference(Answer(), other_top);
  CHECK(difference->position == 2);
  CHECK(difference->what == "other logprobs of the alternatives");

  Completion shorter = Answer();
  shorter.sequences[0].logprobs.pop_back();
  difference = FirstDifference(Answer(), shorter);
  CHECK(difference->position == 3);
  CHECK(difference->what == "1 tokens where 2 were due");
}

TEST_CASE("questions stay within the model's vocabulary and context") {
  ModelInfo model{.max_model_len = 64, .vocab_size = 100};
  auto questions = MakeQuestions(model, {"once"}, 24);
  REQUIRE(questions.size() == 8);  // prompts of 1, 15 and 40, and the text, each greedy and drawn
  for (const Question& question : questions) {
    if (const auto* ids = std::get_if<std::vector<uint32_t>>(&question.options.prompt)) {
      CHECK(ids->size() + 24 <= 64);
      for (uint32_t id : *ids) CHECK(id < 100);
    }
    CHECK(question.options.retry == Retry::kNone);
  }
}

TEST_CASE("layouts keep to the degrees that are allowed") {
  auto layouts = Layouts({.max_tp = 2, .max_pp = 1, .longest = 100});
  for (const VerifyLayout& layout : layouts) {
    CHECK(layout.name.find("tp=3") == std::string::npos);
    CHECK(layout.name.find("pp=2") == std::string::npos);
    CHECK(layout.name != "speculation");
  }
}

TEST_CASE("what the server does not have is no layout, and what it has is one, with kills too") {
  auto names = [](const VerifyPlan& plan) {
    std::vector<std::string> names;
    for (const VerifyLayout& layout : Layouts(plan)) names.push_back(layout.name);
    return names;
  };
  const std::vector<std::string> few = names({.longest = 100});
  const std::vector<std::string> all = names(
      {.longest = 100, .prefix_cache = true, .keeps_evicted = true, .guesses = true, .draft = "d"});
  for (const char* name :
       {"no prefix cache", "evicted blocks kept", "kills with evicted blocks kept",
        "speculation from the text", "speculation"}) {
    INFO(name);
    CHECK(std::count(few.begin(), few.end(), name) == 0);
    CHECK(std::count(all.begin(), all.end(), name) == 1);
  }
}

TEST_CASE("a layout's flags replace those of all servers") {
  VerifyLayout layout{.flags = {"--tp", "2", "--no-prefix-cache"}};
  CHECK(ServerFlags({"--tp=4", "--no-prefix-cache", "--pp", "2", "--tp", "8", "--lanes", "8"},
                    layout) ==
        std::vector<std::string>{"--pp", "2", "--lanes", "8", "--tp", "2", "--no-prefix-cache"});
  CHECK(ServerFlags({}, layout) == layout.flags);
}

TEST_CASE("two traces differ at the first position, and there in the first layer") {
  tests::TempDir left, right;
  auto write = [](const tests::TempDir& dir, int rank, const std::string& text) {
    std::ofstream(dir.path() / ("rank-" + std::to_string(rank))) << text;
  };
  const std::string warm_up = "18446744073709551615 0 0 00000000000000ff\n";
  write(left, 0, warm_up + "1 0 -1 a\n1 0 0 b\n1 1 0 c\n2 0 0 77\n");
  write(left, 1, "1 0 1 d\n1 1 1 e\n");
  write(right, 0, "3 0 -1 a\n3 0 0 b\n3 1 0 c\n");
  write(right, 1, "3 0 1 d\n3 1 1 f\n");
  auto expected = ReadTrace(left.path());
  auto found = ReadTrace(right.path());
  REQUIRE(expected.ok());
  REQUIRE(found.ok());
  CHECK_FALSE(FirstDifference(*expected, *expected).has_value());
  auto difference = FirstDifference(*expected, *found);
  REQUIRE(difference);
  CHECK(difference->position == 1);
  CHECK(difference->layer == 1);
  CHECK(difference->rank == 1);
  write(right, 2, "not a trace\n");
  CHECK(absl::IsInvalidArgument(ReadTrace(right.path()).status()));
}

}  // namespace
}  // namespace tessera::client
