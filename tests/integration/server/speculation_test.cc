// Guessed tokens over real workers: fewer steps, the same bits.
#include <catch2/catch.hpp>

#include <thread>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

std::vector<v1::GenerateRequest> Requests() {
  const std::vector<uint32_t> prompt = {0, 581, 601, 261, 520};
  std::vector<v1::GenerateRequest> requests;
  v1::GenerateRequest greedy = Greedy(prompt, 60);
  greedy.mutable_output()->set_logprobs(2);
  requests.push_back(greedy);
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    v1::GenerateRequest drawn = greedy;
    drawn.mutable_sampling()->set_temperature(0.8f);
    drawn.mutable_sampling()->set_seed(seed);
    if (seed == 2) drawn.mutable_sampling()->set_repetition_penalty(1.1f);
    if (seed == 3) drawn.mutable_sampling()->set_top_k(20);
    if (seed == 4) drawn.mutable_stop()->add_strings("the");
    requests.push_back(drawn);
  }
  v1::GenerateRequest again = greedy;  // of what repeats guesses are right
  for (int i = 0; i < 40; ++i) again.mutable_token_ids()->add_ids(i % 4 + 581);
  again.mutable_stop()->set_ignore_eos(true);
  again.mutable_output()->set_prompt_logprobs(1);
  requests.push_back(again);
  return requests;
}

struct Outcome {
  std::vector<Reply> replies;
  uint64_t steps = 0;
};

Outcome Run(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"--model", DemoModel().string()});
  Server server(flags);
  Outcome outcome;
  {
    Api api(server.target());
    outcome.replies.push_back(api.Generate(Requests()[0]));
    outcome.steps = api.Status().engine().steps_total();
  }
  const auto requests = Requests();
  std::vector<Reply> together(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i) {
    clients.emplace_back([&, i] { together[i] = Api(server.target()).Generate(requests[i]); });
  }
  for (std::thread& client : clients) client.join();
  outcome.replies.insert(outcome.replies.end(), together.begin(), together.end());
  CHECK(Api(server.target()).Status().engine().kv_blocks_free() ==
        Api(server.target()).Status().engine().kv_blocks_total());
  CHECK(server.Stop() == 0);
  return outcome;
}

void CheckSame(const Outcome& expected, const Outcome& found) {
  for (size_t i = 0; i < expected.replies.size(); ++i) {
    INFO("request " << i << ": " << found.replies[i].status.error_message());
    REQUIRE(found.replies[i].status.ok());
    CHECK(Bits(found.replies[i]) == Bits(expected.replies[i]));
    CHECK(found.replies[i].text == expected.replies[i].text);
    CHECK(found.replies[i].finished->reason() == expected.replies[i].finished->reason());
  }
}

TEST_CASE("guesses from the text or by a draft model change no answer, alone or together") {
  const std::string draft = (DemoModel().parent_path() / "draft").string();
  const Outcome off = Run({});
  const Outcome ngram = Run({"--speculate", "ngram", "--tp", "2"});
  CheckSame(off, ngram);
  const Outcome drafted = Run({"--draft", draft, "--num-speculative-tokens", "3", "--tp", "2"});
  CheckSame(off, drafted);
  INFO(off.steps << " steps without guesses, " << drafted.steps << " with");
  CHECK(drafted.steps * 4 < off.steps * 3);
  const Outcome stages = Run({"--draft", draft, "--pp", "2"});
  CheckSame(off, stages);
  // Hardly any room: sequences are preempted and computed again.
  const Outcome tight = Run({"--speculate", "ngram", "--num-kv-blocks", "8", "--max-model-len",
                             "128", "--max-num-seqs", "4", "--max-num-batched-tokens", "24"});
  CheckSame(off, tight);
}

TEST_CASE("a draft model with another vocabulary is refused by name") {
  Process process(Program("tessera-server"),
                  {"--model", DemoModel().string(), "--grpc-port", "0", "--draft",
                   Fixture("checkpoints/llama_small").string()});
  CHECK(process.WaitForExit() == 1);
  CHECK(process.output().find("--draft") != std::string::npos);
}

}  // namespace
}  // namespace tessera::tests
