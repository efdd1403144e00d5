// A worker that dies with everything that its slots hold: streams go on, and the next group begins
// with empty ones.
#include <signal.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/fault/server/load.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

v1::GenerateRequest Question(int number) {
  std::vector<uint32_t> prompt = {0};
  for (int i = 1; i < 300; ++i) prompt.push_back(260 + (number * 37 + i * 11) % 700);
  v1::GenerateRequest request = Greedy(prompt, 8);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_output()->set_logprobs(1);
  return request;
}

// Four prompts, of which the cache holds two; `cached` of each are found.
void CheckAnswers(Api& api, std::vector<std::vector<uint32_t>>& bits, uint32_t cached) {
  for (int i = 0; i < 4; ++i) {
    const Reply reply = api.Generate(Question(i));
    INFO("question " << i << ": " << reply.status.error_message());
    REQUIRE(reply.status.ok());
    if (bits.size() < 4) bits.push_back(Bits(reply));
    CHECK(Bits(reply) == bits[i]);
    CHECK(reply.finished->usage().cached_tokens() == cached);
  }
}

TEST_CASE("a killed worker loses what was spilled and no request") {
  TempDir folder;
  for (const bool in_file : {false, true}) {
    INFO((in_file ? "in a file" : "in memory"));
    std::vector<std::string> flags = {
        "--model", DemoModel().string(), "--tp", "2", "--num-kv-blocks", "40", "--kv-offload",
        "64MiB",   "--max-model-len",    "512"};
    if (in_file) flags.insert(flags.end(), {"--kv-offload-path", folder.path().string()});
    Server server(flags);
    Api api(server.target());
    std::vector<std::vector<uint32_t>> bits;
    CheckAnswers(api, bits, 0);
    CheckAnswers(api, bits, 288);
    // More than fits the cache: some are preempted, and fetch what they had.
    const std::vector<Reply> undisturbed = Load(api, 4, 170).Wait();
    const v1::ServerStatus before = api.Status();
    CHECK(before.engine().blocks_fetched_total() > 0);

    Load load(api, 4, 170);
    REQUIRE(kill(static_cast<pid_t>(before.groups(0).ranks(1).pid()), SIGKILL) == 0);
    const std::vector<Reply> replies = load.Wait();
    for (size_t i = 0; i < replies.size(); ++i) {
      INFO("stream " << i << ": " << replies[i].status.error_message());
      CHECK(replies[i].status.ok());
      CHECK(replies[i].ids == undisturbed[i].ids);
      CHECK(replies[i].text == undisturbed[i].text);
    }
    CheckAnswers(api, bits, 0);
    CheckAnswers(api, bits, 288);
    const v1::ServerStatus after = api.Status();
    CHECK(after.groups(0).restarts() == 1);
    CHECK(after.engine().requests_failed() == 0);
    CHECK(after.engine().kv_slots_total() == before.engine().kv_slots_total());
    CHECK(after.engine().blocks_fetched_total() > before.engine().blocks_fetched_total());
    CHECK(after.engine().kv_blocks_free() == after.engine().kv_blocks_total());
    CHECK(server.Stop() == 0);
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

}  // namespace
}  // namespace tessera::tests
