// Checkpoints of other frameworks through real processes: their tokenizers, their weights cut over
// ranks that trained on other degrees, and the image that the next start maps.
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

std::vector<std::string> ServeFlags(const std::string& model, std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"--model", model, "--grpc-port", "0"});
  return flags;
}

struct Served {
  Served(const std::string& model, const std::vector<std::string>& flags)
      : process(Program("tessera-server"), ServeFlags(model, flags)) {
    const auto ready = process.WaitForLine("ready: ");
    if (process.output().find("sanitizer build") != std::string::npos) {
      SkipTest("a sanitizer build cannot load libsentencepiece beside protobuf");
    }
    INFO(process.output());
    REQUIRE(ready.has_value());
    target = ready->substr(ready->rfind(' ') + 1);
  }

  Process process;
  std::string target;
};

void CheckTexts(const std::string& fixture, const std::vector<std::string>& flags) {
  const auto folder = Fixture("formats/" + fixture);
  INFO(fixture);
  const Served server(folder.string(), flags);
  Api api(server.target);
  const nlohmann::json golden = ReadJson(folder / "golden.json");
  for (const auto& test : golden["text"]) {
    const std::vector<uint32_t> expected = test["greedy_tokens"];
    v1::GenerateRequest request = Greedy({}, static_cast<uint32_t>(expected.size()));
    request.set_text(test["text"].get<std::string>());
    request.mutable_stop()->set_ignore_eos(true);
    request.mutable_sampling()->set_repetition_penalty(1);
    const Reply reply = api.Generate(request);
    INFO(test["text"]);
    REQUIRE(reply.status.ok());
    const auto& ids = reply.accepted->prompt_token_ids().ids();
    CHECK(std::vector<uint32_t>(ids.begin(), ids.end()) ==
          test["input_ids"].get<std::vector<uint32_t>>());
    CHECK(reply.ids == expected);
  }
}

TEST_CASE("a GGUF file is served with the tokenizer that it carries") {
  CheckTexts("gguf_llama_q8_0", {"--tp", "2", "--dtype", "f32"});
}

TEST_CASE("checkpoints of other frameworks are served on other degrees than they trained on") {
  CheckTexts("megatron_core_llama_gqa_tp2", {"--pp", "2"});
  CheckTexts("deepspeed_zero3", {"--tp", "2", "--format", "deepspeed"});
}

TEST_CASE("the next start takes what the first one packed, and answers the same") {
  TempDir cache;
  const std::vector<std::string> flags = {
      "--tp", "2", "--cache-dir", cache.path().string(), "--log-level", "info"};
  const std::string model = Fixture("checkpoints/llama_small").string();
  std::vector<uint32_t> bits;
  for (int start = 0; start < 2; ++start) {
    Served server(model, flags);
    Api api(server.target);
    const Reply reply = api.Generate(Greedy({1, 20, 300}, 8));
    REQUIRE(reply.status.ok());
    if (start == 0) bits = Bits(reply);
    CHECK(Bits(reply) == bits);
    const bool mapped =
        server.process.output().find("packed weights come from") != std::string::npos;
    CHECK(mapped == (start == 1));
    // The files are written while the ranks answer already.
    size_t images = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (images != 2 && std::chrono::steady_clock::now() < deadline) {
      REQUIRE(api.Generate(Greedy({1, 20, 300}, 8)).status.ok());
      images = 0;
      for (const auto& entry : std::filesystem::directory_iterator(cache.path())) {
        images += entry.path().extension() == ".image";
      }
    }
    CHECK(images == 2);
  }
}

}  // namespace
}  // namespace tessera::tests
