// --kv-offload through real processes: evicted prefixes come back from memory or a file, with the
// tokens and the bits of a server that computes them again.
#include <catch2/catch.hpp>

#include <filesystem>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

constexpr int kPrompts = 6;
constexpr uint32_t kCached = 288;  // the whole blocks of a prompt

// 300 tokens each: two fill the cache.
v1::GenerateRequest Question(int number) {
  std::vector<uint32_t> prompt = {0};
  for (int i = 1; i < 300; ++i) prompt.push_back(260 + (number * 37 + i * 11) % 700);
  v1::GenerateRequest request = Greedy(prompt, 12);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_output()->set_logprobs(2);
  if (number % 2 == 1) {
    request.mutable_sampling()->set_temperature(0.9f);
    request.mutable_sampling()->set_seed(number);
  }
  return request;
}

std::vector<std::string> Flags(const std::vector<std::string>& more) {
  std::vector<std::string> flags = {"--model", DemoModel().string(), "--num-kv-blocks",
                                    "40",      "--max-model-len",    "512"};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

// All questions, one after the other, and then again.
std::vector<Reply> AskTwice(Api& api) {
  std::vector<Reply> replies;
  for (int i = 0; i < 2 * kPrompts; ++i) {
    replies.push_back(api.Generate(Question(i % kPrompts)));
    INFO("question " << i << ": " << replies.back().status.error_message());
    REQUIRE(replies.back().status.ok());
    REQUIRE(replies.back().finished.has_value());
  }
  return replies;
}

void CheckComesBack(const std::vector<std::string>& flags, const std::vector<Reply>& expected) {
  Server server(Flags(flags));
  Api api(server.target());
  const std::vector<Reply> replies = AskTwice(api);
  for (int i = 0; i < 2 * kPrompts; ++i) {
    INFO("question " << i);
    CHECK(Bits(replies[i]) == Bits(expected[i]));
    CHECK(replies[i].text == expected[i].text);
    CHECK(replies[i].finished->usage().cached_tokens() == (i < kPrompts ? 0 : kCached));
  }
  const v1::EngineFigures engine = api.Status().engine();
  CHECK(engine.kv_slots_total() > 0);
  CHECK(engine.kv_slots_used() > 0);
  CHECK(engine.blocks_spilled_total() > engine.blocks_fetched_total());
  // But for the last one, of which something may still be in the cache.
  CHECK(engine.blocks_fetched_total() >= (kPrompts - 1) * kCached / 16);
  CHECK(engine.fetched_tokens_total() == engine.blocks_fetched_total() * 16);
  CHECK(engine.kv_blocks_free() == engine.kv_blocks_total());
  CHECK(server.Stop() == 0);
}

TEST_CASE("prompts that were evicted come back from memory or from a file with the same answers") {
  std::vector<Reply> expected;
  {
    Server server(Flags({}));
    Api api(server.target());
    expected = AskTwice(api);
    CHECK(expected[kPrompts].finished->usage().cached_tokens() == 0);
    CHECK(api.Status().engine().kv_slots_total() == 0);
  }
  CheckComesBack({"--kv-offload", "64MiB", "--tp", "2"}, expected);
  TempDir folder;
  const std::string draft = (DemoModel().parent_path() / "draft").string();
  CheckComesBack({"--kv-offload", "64MiB", "--kv-offload-path", folder.path().string(), "--pp", "2",
                  "--draft", draft},
                 expected);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("room for evicted blocks that cannot be is refused by name") {
  const struct {
    std::vector<std::string> flags;
    int code;
    const char* message;
  } cases[] = {
      {{"--kv-offload", "lots"}, 2, "--kv-offload 'lots' is not a size above 0"},
      {{"--kv-offload", "1G", "--kv-offload-path", "/no/such"}, 2, "'/no/such' is not a folder"},
      {{"--kv-offload", "1KiB"}, 1, "--kv-offload 1.00 KiB of each rank does not hold one block"},
      {{"--kv-offload", "1024TiB"}, 1, "give less"},
  };
  for (const auto& test : cases) {
    std::vector<std::string> flags = Flags(test.flags);
    flags.insert(flags.end(), {"--grpc-port", "0"});
    Process process(Program("tessera-server"), flags);
    CHECK(process.WaitForExit() == test.code);
    process.WaitForLine("no such line: the output is read to its end");
    INFO(process.output());
    CHECK(process.output().find(test.message) != std::string::npos);
  }
}

}  // namespace
}  // namespace tessera::tests
