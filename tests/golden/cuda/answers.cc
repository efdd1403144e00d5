#include "tests/golden/cuda/answers.h"

#include <catch2/catch.hpp>

#include "tests/golden/model/group.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

using nlohmann::json;
using worker::SequenceStart;

constexpr uint32_t kTokens = 4;

std::filesystem::path Model(const std::string& name) { return Fixture("checkpoints/" + name); }

// Greedy with logprobs, and sampled.
std::vector<SequenceStart> Starts(const std::string& name) {
  std::vector<SequenceStart> starts;
  const json golden = ReadJson(Model(name) / "golden.json");
  for (const json& prompt : golden["prompts"]) {
    const std::vector<uint32_t> ids = prompt["input_ids"];
    if (ids.size() > 40 || starts.size() > 2) continue;
    starts.push_back(GreedyStart(ids, kTokens));
    starts.back().logprobs = 5;
    starts.push_back(GreedyStart(ids, kTokens));
    starts.back().index = 1;
    starts.back().sampling.temperature = 1.5f;
    starts.back().sampling.seed = 7;
  }
  REQUIRE(starts.size() == 4);
  starts[2].prompt_logprobs = 3;
  starts[2].restrictions.bad_words = {{starts[2].token_ids.back()}};
  worker::SamplingParams& filtered = starts[3].sampling;
  filtered.temperature = 0.9f;
  filtered.top_k = 60;
  filtered.top_p = 0.9f;
  filtered.min_p = 0.001f;
  filtered.repetition_penalty = 1.2f;
  filtered.frequency_penalty = 0.1f;
  starts.push_back(starts[3]);
  starts.back().index = 2;
  starts.back().sampling.typical_p = 0.9f;
  // Beams, one of which the device leaves to the host.
  for (bool restricted : {false, true}) {
    starts.push_back(GreedyStart(starts[0].token_ids, kTokens));
    starts.back().logprobs = 2;
    starts.back().candidates = 6;
    if (restricted) starts.back().restrictions.logit_bias = {{7, 3.5f}, {9, -2.0f}};
  }
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

}  // namespace

void AnswersAreTheCpus(const BackendMaker& exact, const std::string& model, Degrees degrees,
                       const shard_loader::WeightFormat& format,
                       const shard_loader::KvFormat& cache) {
  INFO(model << " in " << shard_loader::WeightFormatName(format) << ", cache in "
             << shard_loader::KvFormatName(cache) << " with tp " << degrees.tp << ", pp "
             << degrees.pp);
  const std::vector<SequenceStart> starts = Starts(model);
  GroupOptions options;
  options.dtype = format;
  options.kv_dtype = cache;
  options.lanes = degrees.lanes;
  Group cpu(Model(model), options);
  options.tp = degrees.tp;
  options.pp = degrees.pp;
  options.make_backend = exact;
  Group device(Model(model), options);
  CheckEqual(cpu.Generate(starts), device.Generate(starts));
}

void AnswersStandAlone(const BackendMaker& wide, const std::string& model,
                       const std::vector<Degrees>& degrees) {
  const std::vector<SequenceStart> starts = Starts(model);
  GroupOptions options;
  options.dtype = shard_loader::DType::kBF16;
  options.kv_dtype = shard_loader::DType::kBF16;
  options.make_backend = wide;
  Group one(Model(model), options);
  const std::vector<Answer> expected = one.Generate(starts);
  {
    INFO(model << " in chunks of 3");
    CheckEqual(expected, Group(Model(model), options).Generate(starts, 3));
  }
  {
    INFO(model << ", a sequence alone");
    CheckEqual({expected[1]}, Group(Model(model), options).Generate({starts[1]}));
  }
  for (const Degrees& each : degrees) {
    INFO(model << " with tp " << each.tp << ", pp " << each.pp);
    options.tp = each.tp;
    options.pp = each.pp;
    CheckEqual(expected, Group(Model(model), options).Generate(starts));
  }
}

void StepsAllocateNothing(const BackendMaker& maker, const std::string& model,
                          const std::function<int64_t()>& allocations) {
  INFO(model);
  GroupOptions options;
  options.dtype = *shard_loader::ParseWeightFormat("int8");
  options.kv_dtype = shard_loader::DType::kBF16;
  options.make_backend = maker;
  Group group(Model(model), options);
  const int64_t before = allocations();
  CHECK(before > 0);
  std::vector<SequenceStart> starts = Starts(model);
  starts.erase(starts.begin(), starts.begin() + 2);  // of one prompt, in every way
  group.Generate(starts);
  CHECK(allocations() == before);
}

void AnswersMayLag(const BackendMaker& maker, const std::string& model) {
  INFO(model);
  GroupOptions options;
  options.make_backend = maker;
  std::vector<SequenceStart> starts = Starts(model);
  starts.resize(2);
  for (SequenceStart& start : starts) start.max_tokens = 6;
  starts.push_back(starts[0]);
  starts.push_back(starts[1]);
  starts[2].max_tokens = 3;
  // The last ends before its time, by a token that the next step has been computed behind.
  const std::vector<Answer> all = Group(Model(model), options).Generate(starts);
  starts[3].stop_token_ids = {all[1].tokens[2].id};
  const std::vector<Answer> expected = Group(Model(model), options).Generate(starts);
  REQUIRE(expected[3].finish == worker::Finish::kStop);

  Group group(Model(model), options);
  worker::Runner& runner = group.runner(0);
  std::vector<Answer> found(starts.size());
  const auto take = [&](const std::vector<worker::StepOutput>& outputs) {
    for (const worker::StepOutput& output : outputs) {
      for (const worker::SequenceResult& result : output.results) {
        Answer& answer = found[result.sequence - 1];
        answer.tokens.insert(answer.tokens.end(), result.tokens.begin(), result.tokens.end());
        answer.finish = result.finish;
      }
    }
  };
  for (uint64_t s = 1; s <= 6; ++s) {
    worker::StepInput step;
    step.step = s;
    for (size_t i = 0; i < starts.size(); ++i) {
      starts[i].sequence = i + 1;
      worker::SequenceStep entry;
      entry.sequence = i + 1;
      entry.num_tokens = 1;
      if (s == 1) {
        entry.num_tokens = static_cast<uint32_t>(starts[i].token_ids.size());
        for (uint32_t b = 0; b < 4; ++b)
          entry.new_blocks.push_back(4 * static_cast<uint32_t>(i) + b);
        step.starts.push_back(starts[i]);
      }
      step.entries.push_back(std::move(entry));
    }
    const auto outputs = runner.RunAhead(step);
    INFO(outputs.status().ToString());
    REQUIRE(outputs.ok());
    CHECK(outputs->size() == (s == 1 ? 0 : 1));
    CHECK(runner.num_open() == 1);
    take(*outputs);
  }
  const auto rest = runner.Settle();
  REQUIRE(rest.ok());
  take(*rest);
  CheckEqual(expected, found);
}

void GuessesChangeNothing(const BackendMaker& exact, const std::string& model) {
  std::vector<SequenceStart> starts = Starts(model);
  starts.push_back(GreedyStart(starts[0].token_ids, 12));  // whose guesses are right
  starts.back().restrictions.allowed_ids = {10};
  const std::vector<Answer> expected = Group(Model(model), GroupOptions()).Generate(starts);
  for (const bool drafts : {false, true}) {
    INFO(model << (drafts ? ", guessed by itself" : ", guessed from the text"));
    GroupOptions options;
    options.make_backend = exact;
    options.speculation.num_tokens = 3;
    if (drafts) options.draft = Model(model);
    Group group(Model(model), options);
    CheckEqual(expected, group.Generate(starts));
    const uint64_t together = group.num_steps();
    CheckEqual({expected.back()}, group.Generate({starts.back()}));
    CHECK(group.num_steps() - together <= 9);
    CheckEqual({expected[3]}, group.Generate({starts[3]}));  // which depends on the ids before
  }
}

void AnswersAreGolden(const BackendMaker& backend, const std::string& model) {
  INFO(model);
  GroupOptions options;
  options.make_backend = backend;
  Group group(Model(model), options);
  const json golden = ReadJson(Model(model) / "golden.json");
  for (const json& prompt : golden["prompts"]) {
    const std::vector<uint32_t> ids = prompt["input_ids"];
    const std::vector<uint32_t> expected = prompt["greedy"]["tokens"];
    const auto count = static_cast<uint32_t>(expected.size());
    const std::vector<Answer> answers = group.Generate({GreedyStart(ids, count)});
    std::vector<uint32_t> found;
    for (const worker::Token& token : answers[0].tokens) found.push_back(token.id);
    CHECK(found == expected);
  }
}

}  // namespace tessera::tests
