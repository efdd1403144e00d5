// The reference implementation's tokens and logprobs, in f32 on one rank.
#include <catch2/catch.hpp>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "tests/golden/model/family_runs.h"
#include "tests/golden/model/group.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

using nlohmann::json;
using worker::SequenceStart;
using worker::Token;

float LogprobOf(const Token& token, uint32_t id) {
  for (const worker::TopToken& top : token.top) {
    if (top.id == id) return top.logprob;
  }
  return std::nanf("");
}

void CheckGreedy(const json& golden, const Answer& answer, double tolerance) {
  const json& greedy = golden["greedy"];
  REQUIRE(answer.tokens.size() == greedy["tokens"].size());
  for (size_t i = 0; i < answer.tokens.size(); ++i) {
    const Token& token = answer.tokens[i];
    INFO("greedy step " << i);
    REQUIRE(token.id == greedy["tokens"][i]);
    CHECK(std::abs(token.logprob - greedy["logprobs"][i].get<double>()) <= tolerance);
    for (size_t k = 0; k < 5; ++k) {
      const uint32_t id = greedy["top5_ids"][i][k];
      CHECK(std::abs(LogprobOf(token, id) - greedy["top5_logprobs"][i][k].get<double>()) <=
            tolerance);
    }
  }
}

// Every id of the vocabulary, at the last position of the prompt.
void CheckWholeVocabulary(const json& golden, const Token& token, double tolerance) {
  const json& expected = golden["last_logprobs"];
  REQUIRE(token.top.size() == expected.size());
  double worst = 0;
  for (const worker::TopToken& top : token.top) {
    worst = std::max(worst, std::abs(top.logprob - expected[top.id].get<double>()));
  }
  CHECK(worst <= tolerance);
}

void CheckPromptLogprobs(const json& sequence, const std::vector<Token>& tokens, double tolerance) {
  const json& expected = sequence["token_logprobs"];
  REQUIRE(tokens.size() + 1 == expected.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    INFO("prompt token " << i + 1);
    CHECK(std::abs(tokens[i].logprob - expected[i + 1].get<double>()) <= tolerance);
    if (sequence["argmax_gaps"][i].get<double>() > tolerance) {
      CHECK(tokens[i].top[0].id == sequence["argmax"][i]);
    }
    for (size_t k = 0; k < 5; ++k) {
      CHECK(std::abs(LogprobOf(tokens[i], sequence["top5_ids"][i][k]) -
                     sequence["top5_logprobs"][i][k].get<double>()) <= tolerance);
    }
  }
}

// `name` is a folder of the fixtures.
void CheckFolder(const std::string& name) {
  const std::filesystem::path folder = Fixture(name);
  const json golden = ReadJson(folder / "golden.json");
  const double tolerance = golden["tolerance"]["logprobs_atol"];
  Group group(folder, {});
  std::vector<SequenceStart> starts;
  for (const json& prompt : golden["prompts"]) {
    const auto steps = static_cast<uint32_t>(prompt["greedy"]["tokens"].size());
    SequenceStart start = GreedyStart(prompt["input_ids"], steps);
    start.logprobs = golden["vocab_size"];
    start.prompt_logprobs = golden["vocab_size"];
    starts.push_back(start);
  }
  const std::vector<Answer> answers = group.Generate(starts);
  for (size_t i = 0; i < answers.size(); ++i) {
    const json& prompt = golden["prompts"][i];
    INFO(name << ", prompt " << prompt["name"]);
    CheckGreedy(prompt, answers[i], tolerance);
    CheckWholeVocabulary(prompt, answers[i].tokens[0], tolerance);
    if (golden.contains("sequence") && golden["sequence"]["prompt"] == prompt["name"]) {
      CheckPromptLogprobs(golden["sequence"], answers[i].prompt_tokens, tolerance);
    }
  }
}

TEST_CASE("checkpoints of other formats give the reference's tokens and logprobs") {
  const std::vector<std::string> names = FormatCheckpoints();
  CHECK(names.size() >= 27);
  for (const std::string& name : names) {
    INFO(name);
    CheckFolder(name);
  }
}

TEST_CASE("checkpoints of every family give the reference's tokens and logprobs") {
  for (const std::string& name : FamilyCheckpoints()) {
    INFO(name);
    CheckFolder(name);
  }
}

TEST_CASE("the bundled model gives the golden tokens in f32") {
  const json golden = ReadJson(DemoModel().parent_path() / "golden.json");
  GroupOptions options;
  options.max_num_batched_tokens = 512;
  Group group(DemoModel(), options);
  std::vector<SequenceStart> starts;
  for (const json& item : golden["cases"]) {
    starts.push_back(GreedyStart(item["prompt_ids"], 64));
    starts.back().stop_token_ids = golden["eos_token_ids"].get<std::vector<uint32_t>>();
  }
  const std::vector<Answer> answers = group.Generate(starts);
  for (size_t i = 0; i < answers.size(); ++i) {
    INFO("case " << i);
    std::vector<uint32_t> ids;
    for (const Token& token : answers[i].tokens) ids.push_back(token.id);
    CHECK(ids == golden["cases"][i]["output_ids"].get<std::vector<uint32_t>>());
  }
}

}  // namespace
}  // namespace tessera::tests
