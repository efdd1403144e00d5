// Guessed tokens change the number of steps and nothing else.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/golden/model/group.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

using nlohmann::json;
using worker::SequenceStart;

std::filesystem::path Model(const std::string& name) { return Fixture("checkpoints/" + name); }

SequenceStart Sampled(const std::vector<uint32_t>& prompt, uint64_t seed) {
  SequenceStart start = GreedyStart(prompt, 24);
  start.index = 1;
  start.logprobs = 3;
  start.sampling.temperature = 0.7f;
  start.sampling.seed = seed;
  return start;
}

// Greedy and sampled, with what looks at the ids before: penalties, bad words, min_tokens, stops.
std::vector<SequenceStart> MixedStarts(const std::string& name, uint32_t vocab_size) {
  const json golden = ReadJson(Model(name) / "golden.json");
  std::vector<SequenceStart> starts;
  for (size_t i = 0; i < 3; ++i) {
    const std::vector<uint32_t> ids = golden["prompts"][i]["input_ids"];
    starts.push_back(GreedyStart(ids, 32));
    starts.back().logprobs = 5;
    if (ids.size() < 40) starts.back().prompt_logprobs = 2;
    starts.push_back(Sampled(ids, 7 + i));
  }
  const std::vector<uint32_t> ids = golden["prompts"][1]["input_ids"];
  SequenceStart penalised = Sampled(ids, 99);
  penalised.sampling.temperature = 0.2f;
  penalised.sampling.top_k = 20;
  penalised.sampling.repetition_penalty = 1.05f;
  penalised.sampling.presence_penalty = 0.1f;
  penalised.sampling.frequency_penalty = 0.1f;
  starts.push_back(penalised);
  SequenceStart stopped = GreedyStart(ids, 40);
  stopped.min_tokens = 9;
  for (uint32_t id = 0; id < vocab_size; id += 2) stopped.stop_token_ids.push_back(id);
  starts.push_back(stopped);
  SequenceStart few = Sampled(ids, 3);  // of few ids, so that guesses are often right
  few.restrictions.allowed_ids = {10, 11, 12};
  few.restrictions.bad_words = {{10, 11, 12}};
  starts.push_back(few);
  SequenceStart one = GreedyStart(ids, 40);  // always right
  one.restrictions.allowed_ids = {10};
  starts.push_back(one);
  return starts;
}

void CheckEqual(const std::vector<Answer>& expected, const std::vector<Answer>& found) {
  REQUIRE(expected.size() == found.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    INFO("sequence " << i);
    CHECK(Difference(expected[i], found[i]) == "");
    CHECK_FALSE(found[i].tokens.empty());
  }
}

TEST_CASE("answers with guesses from the text are those without, in fewer steps") {
  for (const char* name : {"llama3_gqa", "qwen2"}) {
    INFO(name);
    Group plain(Model(name), {});
    const std::vector<SequenceStart> starts =
        MixedStarts(name, static_cast<uint32_t>(plain.spec().vocab_size));
    const std::vector<Answer> expected = plain.Generate(starts);
    GroupOptions options;
    for (uint32_t tokens : {1, 4, 9}) {
      INFO(tokens << " tokens");
      options.speculation.num_tokens = tokens;
      Group group(Model(name), options);
      CheckEqual(expected, group.Generate(starts));
      const uint64_t together = group.num_steps();
      CheckEqual({expected.back()}, group.Generate({starts.back()}));
      // 40 tokens that are always guessed right once the first two have been drawn.
      CHECK(group.num_steps() - together <= 3 + 38 / (tokens + 1) + 1 + 3);
    }
  }
}

TEST_CASE("guesses keep the bits of answers at every degree, alone and in a batch") {
  const char* name = "llama3_gqa";
  Group plain(Model(name), {});
  const std::vector<SequenceStart> starts =
      MixedStarts(name, static_cast<uint32_t>(plain.spec().vocab_size));
  const std::vector<Answer> expected = plain.Generate(starts, 16);
  for (const auto& [tp, pp] : {std::pair{2, 1}, {1, 2}, {3, 2}}) {
    INFO("tp " << tp << ", pp " << pp);
    GroupOptions options;
    options.tp = tp;
    options.pp = pp;
    options.speculation.num_tokens = 4;
    Group group(Model(name), options);
    CheckEqual(expected, group.Generate(starts, 16));
    CheckEqual({expected[6]}, group.Generate({starts[6]}));
  }
}

TEST_CASE("a draft model's guesses keep the bits of answers, in fewer steps") {
  const json golden = ReadJson(DemoModel().parent_path() / "golden.json");
  std::vector<SequenceStart> starts;
  for (size_t i = 0; i < 4; ++i) {
    const std::vector<uint32_t> ids = golden["cases"][i]["prompt_ids"];
    starts.push_back(GreedyStart(ids, 40));
    starts.back().logprobs = 3;
    starts.push_back(Sampled(ids, 5 + i));
    starts.back().max_tokens = 40;
  }
  starts[1].sampling.repetition_penalty = 1.1f;
  starts[3].sampling.top_p = 0.9f;
  Group plain(DemoModel(), {});
  const std::vector<Answer> expected = plain.Generate(starts);
  for (const auto& [tp, pp] : {std::pair{1, 1}, {2, 1}, {2, 2}}) {
    INFO("tp " << tp << ", pp " << pp);
    GroupOptions options;
    options.tp = tp;
    options.pp = pp;
    options.speculation.num_tokens = 4;
    options.draft = DemoModel().parent_path() / "draft";
    Group group(DemoModel(), options);
    CheckEqual(expected, group.Generate(starts, 16));
    const uint64_t together = group.num_steps();
    CheckEqual({expected[0]}, group.Generate({starts[0]}));
    const uint64_t alone = group.num_steps() - together;
    INFO(expected[0].tokens.size() << " tokens in " << alone << " steps");
    CHECK(alone * 3 < expected[0].tokens.size() * 2);
  }
}

}  // namespace
}  // namespace tessera::tests
