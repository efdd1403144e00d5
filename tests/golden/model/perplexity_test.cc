// What coded weights, and a cache in int8, cost: the perplexity of the bundled model on text that
// it was not trained on.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "server/text/tokenizer.h"
#include "shard_loader/plan/weight_format.h"
#include "tests/golden/model/group.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

constexpr size_t kTexts = 80;

// The first plain texts of the file, as ids.
std::vector<std::vector<uint32_t>> HeldOut(const std::filesystem::path& demo) {
  const auto tokenizer = server::Tokenizer::Load(demo / "model").value();
  std::vector<std::vector<uint32_t>> texts;
  std::ifstream file(demo / "heldout.jsonl");
  for (std::string line; texts.size() < kTexts && std::getline(file, line);) {
    const auto entry = nlohmann::json::parse(line);
    if (!entry.contains("text")) continue;
    auto ids = tokenizer->EncodeIds(entry["text"].get<std::string>(), {}).value();
    if (ids.size() > 8 && ids.size() < 400) texts.push_back(std::move(ids));
  }
  return texts;
}

double Perplexity(const std::filesystem::path& model, const std::string& format,
                  const std::vector<std::vector<uint32_t>>& texts,
                  const shard_loader::KvFormat& kv_format = {}) {
  GroupOptions options;
  options.kv_dtype = kv_format;
  options.dtype = shard_loader::ParseWeightFormat(format).value();
  Group group(model, options);
  std::vector<worker::SequenceStart> starts;
  for (const auto& ids : texts) {
    starts.push_back(GreedyStart(ids, 1));
    starts.back().prompt_logprobs = 0;
  }
  double sum = 0;
  int64_t count = 0;
  for (size_t first = 0; first < starts.size(); first += 8) {
    const size_t last = std::min(first + 8, starts.size());
    for (const Answer& answer :
         group.Generate({starts.begin() + first, starts.begin() + last}, 128)) {
      for (const worker::Token& token : answer.prompt_tokens) {
        sum -= token.logprob;
        ++count;
      }
    }
  }
  REQUIRE(count > 2000);
  return std::exp(sum / static_cast<double>(count));
}

TEST_CASE(
    "int8, also of the cache, keeps the perplexity within half a percent, and int4 within two") {
  const std::filesystem::path demo = DemoModel().parent_path();
  const auto texts = HeldOut(demo);
  REQUIRE(texts.size() == kTexts);
  const double exact = Perplexity(demo / "model", "bf16", texts);
  for (auto [format, most] : {std::pair{"int8", 0.005}, std::pair{"int8-g32", 0.005},
                              std::pair{"int4", 0.02}, std::pair{"int4-g128", 0.02}}) {
    const double coded = Perplexity(demo / "model", format, texts);
    std::printf(
        "{\"bench\": \"perplexity\", \"format\": \"%s\", \"bf16\": %.4f, \"coded\": %.4f, "
        "\"ratio\": %.5f}\n",
        format, exact, coded, coded / exact);
    INFO(format << ": " << coded << ", bf16: " << exact);
    CHECK(coded <= exact * (1 + most));
    CHECK(coded != exact);
  }
  const double cached = Perplexity(demo / "model", "bf16", texts, shard_loader::KvFormat::Int8());
  std::printf(
      "{\"bench\": \"perplexity\", \"format\": \"bf16, cache in int8\", \"bf16\": %.4f, \"coded\": "
      "%.4f, \"ratio\": %.5f}\n",
      exact, cached, cached / exact);
  INFO("cache in int8: " << cached << ", in f32: " << exact);
  CHECK(cached <= exact * 1.005);
  CHECK(cached != exact);
}

}  // namespace
}  // namespace tessera::tests
