// One answer: the same bits whatever the degrees, the batch, the chunks, the threads and the
// instruction set.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/golden/model/group.h"
#include "tests/support/fixtures.h"
#include "worker/backend/kernel_sets.h"

namespace tessera::tests {
namespace {

using nlohmann::json;
using worker::SequenceStart;

std::filesystem::path Model(const std::string& name) { return Fixture("checkpoints/" + name); }

SequenceStart SampledStart(const std::vector<uint32_t>& prompt, uint64_t seed) {
  SequenceStart start = GreedyStart(prompt, 8);
  start.index = 1;
  start.logprobs = 5;
  start.sampling.temperature = 1.5f;
  start.sampling.seed = seed;
  return start;
}

// Greedy and sampled, every filter and penalty, prompt logprobs: one start of each kind.
std::vector<SequenceStart> MixedStarts(const std::string& name) {
  const json golden = ReadJson(Model(name) / "golden.json");
  std::vector<SequenceStart> starts;
  for (const json& prompt : golden["prompts"]) {
    const std::vector<uint32_t> ids = prompt["input_ids"];
    starts.push_back(GreedyStart(ids, 8));
    starts.back().logprobs = 20;
    // Chunks of the longest prompt make sums that go two-shot between ranks.
    if (ids.size() < 40) starts.back().prompt_logprobs = 3;
    starts.push_back(SampledStart(ids, 7));
  }
  const std::vector<uint32_t> ids = golden["prompts"][1]["input_ids"];
  SequenceStart filtered = SampledStart(ids, 99);
  filtered.sampling.top_k = 40;
  filtered.sampling.top_p = 0.9f;
  filtered.sampling.min_p = 0.001f;
  filtered.sampling.typical_p = 0.95f;
  filtered.sampling.repetition_penalty = 1.2f;
  filtered.sampling.presence_penalty = 0.5f;
  filtered.sampling.frequency_penalty = 0.25f;
  starts.push_back(filtered);
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

void CheckDegrees(const std::string& name) {
  const std::vector<SequenceStart> starts = MixedStarts(name);
  Group one(Model(name), {});
  const std::vector<Answer> expected = one.Generate(starts);
  const std::vector<int> degrees = one.spec().attention.num_heads >= 8
                                       ? std::vector<int>{1, 2, 3, 4, 8}
                                       : std::vector<int>{1, 2, 3, 4};
  for (int tp : degrees) {
    for (int pp : {1, 2, 4}) {
      if (pp > one.spec().num_layers) continue;
      INFO(name << " with tp " << tp << ", pp " << pp);
      GroupOptions options;
      options.tp = tp;
      options.pp = pp;
      Group group(Model(name), options);
      CheckEqual(expected, group.Generate(starts));
    }
  }
}

TEST_CASE("llama answers are equal at every tensor and pipeline degree") {
  for (const char* name : {"llama2_mha", "llama3_gqa", "llama_gqa_plain", "llama_mqa_tied",
                           "llama_small", "llama_vocab509"}) {
    CheckDegrees(name);
  }
}

TEST_CASE("mistral answers are equal at every tensor and pipeline degree") {
  CheckDegrees("mistral");
}

TEST_CASE("qwen2 answers are equal at every tensor and pipeline degree") { CheckDegrees("qwen2"); }

TEST_CASE("qwen3 answers are equal at every tensor and pipeline degree") { CheckDegrees("qwen3"); }

TEST_CASE("answers in 16 bits are equal at every degree, and differ from those in f32") {
  const std::vector<SequenceStart> starts = MixedStarts("qwen3");
  Group single(Model("qwen3"), {});
  const std::vector<Answer> in_f32 = single.Generate(starts);
  for (shard_loader::DType dtype : {shard_loader::DType::kBF16, shard_loader::DType::kF16}) {
    INFO("dtype " << shard_loader::DTypeName(dtype));
    GroupOptions options;
    options.dtype = dtype;
    options.kv_dtype = dtype;
    Group one(Model("qwen3"), options);
    const std::vector<Answer> expected = one.Generate(starts);
    CHECK(expected[0].tokens[0].logprob != in_f32[0].tokens[0].logprob);
    options.tp = 3;
    options.pp = 2;
    Group many(Model("qwen3"), options);
    CheckEqual(expected, many.Generate(starts));
  }
}

// The same answers over several ranks as over one.
void CheckSplit(const std::string& name, const std::vector<SequenceStart>& starts,
                const std::vector<Answer>& expected, GroupOptions options) {
  for (auto [tp, pp] : {std::pair{2, 1}, std::pair{3, 2}, std::pair{4, 1}}) {
    INFO("tp " << tp << ", pp " << pp);
    options.tp = tp;
    options.pp = pp;
    Group many(Model(name), options);
    CheckEqual(expected, many.Generate(starts));
  }
}

TEST_CASE("answers of coded weights are equal at every degree and with every instruction set") {
  for (const char* name : {"qwen3", "llama3_gqa"}) {
    const std::vector<SequenceStart> starts = MixedStarts(name);
    for (const char* format : {"int8", "int4", "int4-g128"}) {
      GroupOptions options;
      options.dtype = shard_loader::ParseWeightFormat(format).value();
      Group one(Model(name), options);
      const std::vector<Answer> expected = one.Generate(starts);
      INFO(name << " in " << format);
      CheckSplit(name, starts, expected, options);
      for (const std::string& kernels : worker::AvailableKernelSets()) {
        if (*worker::KernelNumerics(kernels) != "fma16" || kernels == "generic") continue;
        INFO(name << " in " << format << " with " << kernels);
        options.kernels = kernels;
        Group other(Model(name), options);
        CheckEqual(expected, other.Generate(starts));
      }
    }
  }
}

TEST_CASE("answers by dot instructions are equal at every degree, batch and chunk") {
  bool any = false;
  for (const std::string& kernels : worker::AvailableKernelSets()) {
    const std::string numerics = *worker::KernelNumerics(kernels);
    if (numerics == "fma16" || numerics == "reference") continue;
    any = true;
    INFO("kernel set " << kernels);
    const std::vector<SequenceStart> starts = MixedStarts("llama3_gqa");
    GroupOptions options;
    options.dtype = shard_loader::DType::kBF16;
    options.kv_dtype = shard_loader::DType::kBF16;
    Group by_fma(Model("llama3_gqa"), options);
    options.kernels = kernels;
    Group one(Model("llama3_gqa"), options);
    const std::vector<Answer> expected = one.Generate(starts);
    CHECK(expected[0].tokens[0].logprob != by_fma.Generate({starts[0]})[0].tokens[0].logprob);
    CheckEqual(expected, one.Generate(starts, 17));
    for (size_t i = 0; i < starts.size(); ++i) CheckEqual({expected[i]}, one.Generate({starts[i]}));
    options.threads = 2;
    CheckSplit("llama3_gqa", starts, expected, options);
  }
  if (!any) SkipTest("this CPU has no kernel set with dot instructions for bf16");
}

TEST_CASE("answers over a cache in int8 depend on neither degree, batch, chunk, replay nor set") {
  for (const char* name : {"llama3_gqa", "mistral"}) {
    const std::vector<SequenceStart> starts = MixedStarts(name);
    GroupOptions options;
    Group in_f32(Model(name), options);
    options.kv_dtype = shard_loader::KvFormat::Int8();
    Group one(Model(name), options);
    const std::vector<Answer> expected = one.Generate(starts);
    CHECK(expected[0].tokens[0].logprob != in_f32.Generate({starts[0]})[0].tokens[0].logprob);
    for (uint32_t chunk : {1, 31, 100}) {
      INFO(name << " in chunks of " << chunk);
      CheckEqual(expected, one.Generate(starts, chunk));
    }
    for (size_t i = 0; i < starts.size(); ++i) {
      INFO(name << ", sequence " << i << " alone");
      CheckEqual({expected[i]}, one.Generate({starts[i]}));
    }
    SequenceStart resumed = starts[0];
    for (int i = 0; i < 3; ++i) resumed.token_ids.push_back(expected[0].tokens[i].id);
    Answer rest = one.Generate({resumed})[0];
    rest.tokens.insert(rest.tokens.begin(), expected[0].tokens.begin(),
                       expected[0].tokens.begin() + 3);
    rest.prompt_tokens.resize(expected[0].prompt_tokens.size());
    CHECK(Difference(expected[0], rest) == "");
    INFO(name);
    CheckSplit(name, starts, expected, options);
    for (const std::string& kernels : worker::AvailableKernelSets()) {
      if (*worker::KernelNumerics(kernels) != "fma16") continue;
      INFO(name << " with " << kernels);
      options.kernels = kernels;
      Group other(Model(name), options);
      CheckEqual({expected[1]}, other.Generate({starts[1]}));
    }
  }
}

TEST_CASE("an answer does not depend on the batch that it shares") {
  for (const char* name : {"llama3_gqa", "mistral"}) {
    INFO(name);
    const std::vector<SequenceStart> starts = MixedStarts(name);
    Group group(Model(name), {});
    const std::vector<Answer> together = group.Generate(starts);
    for (size_t i = 0; i < starts.size(); ++i) {
      INFO("sequence " << i << " alone");
      CheckEqual({together[i]}, group.Generate({starts[i]}));
    }
    std::vector<SequenceStart> reversed(starts.rbegin(), starts.rend());
    CheckEqual({together.rbegin(), together.rend()}, group.Generate(reversed));
  }
}

TEST_CASE("an answer does not depend on the chunks of its prefill") {
  for (const char* name : {"llama3_gqa", "mistral"}) {
    INFO(name);
    const std::vector<uint32_t> prompt =
        ReadJson(Model(name) / "golden.json")["prompts"][3]["input_ids"];
    SequenceStart greedy = GreedyStart(prompt, 6);
    greedy.logprobs = 20;
    greedy.prompt_logprobs = 2;
    Group group(Model(name), {});
    const std::vector<Answer> whole = group.Generate({greedy, SampledStart(prompt, 3)}, 256);
    for (uint32_t chunk : {1, 3, 16, 31, 64, 100}) {
      INFO("chunks of " << chunk);
      CheckEqual(whole, group.Generate({greedy, SampledStart(prompt, 3)}, chunk));
    }
  }
}

TEST_CASE("an answer that is resumed from any of its tokens is the same") {
  const std::vector<uint32_t> prompt =
      ReadJson(Model("llama3_gqa") / "golden.json")["prompts"][2]["input_ids"];
  SequenceStart start = SampledStart(prompt, 11);
  start.sampling.frequency_penalty = 0.7f;
  start.sampling.top_p = 0.8f;
  Group group(Model("llama3_gqa"), {});
  const Answer whole = group.Generate({start})[0];
  for (size_t kept = 1; kept < whole.tokens.size(); ++kept) {
    INFO("resumed after " << kept);
    SequenceStart resumed = start;
    for (size_t i = 0; i < kept; ++i) resumed.token_ids.push_back(whole.tokens[i].id);
    Answer rest = group.Generate({resumed})[0];
    rest.tokens.insert(rest.tokens.begin(), whole.tokens.begin(), whole.tokens.begin() + kept);
    CHECK(Difference(whole, rest) == "");
  }
}

TEST_CASE("an answer does not depend on the threads or the instruction set") {
  for (const char* name : {"llama3_gqa", "mistral", "qwen3"}) {
    std::vector<SequenceStart> starts = MixedStarts(name);
    std::erase_if(starts, [](const SequenceStart& start) { return start.token_ids.size() > 40; });
    Group one(Model(name), {});
    const std::vector<Answer> expected = one.Generate(starts);
    for (const std::string& kernels : worker::AvailableKernelSets()) {
      if (*worker::KernelNumerics(kernels) != "fma16") continue;
      GroupOptions options;
      options.kernels = kernels;
      options.threads = kernels == "generic" ? 1 : 3;
      INFO(name << " with " << kernels << " on " << options.threads << " threads");
      Group group(Model(name), options);
      CheckEqual(expected, group.Generate(starts));
    }
  }
}

}  // namespace
}  // namespace tessera::tests
