// One answer through real processes: twelve layouts of the same model over three transports give
// the golden tokens, and the very bits of the lone rank's logprobs.
#include <sys/wait.h>

#include <bit>
#include <catch2/catch.hpp>

#include "client/lib/client.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

using client::GenerateOptions;

struct Answer {
  std::vector<uint32_t> ids;
  std::vector<uint32_t> logprob_bits;  // of the chosen tokens and of the top ones, in order

  friend bool operator==(const Answer&, const Answer&) = default;
};

void AppendBits(const client::TokenLogprobs& token, Answer& answer) {
  answer.logprob_bits.push_back(std::bit_cast<uint32_t>(token.logprob.value_or(1.0f)));
  for (const auto& top : token.top) {
    answer.logprob_bits.push_back(top.token_id);
    answer.logprob_bits.push_back(std::bit_cast<uint32_t>(top.logprob));
  }
}

Answer Ask(client::Client& client, const GenerateOptions& options) {
  Answer answer;
  auto stream = client.Generate(options);
  while (true) {
    auto event = stream->Next();
    INFO(event.status());
    REQUIRE(event.ok());
    if (!event->has_value()) return answer;
    const auto* delta = std::get_if<client::Delta>(&(*event)->event);
    if (delta == nullptr) continue;
    answer.ids.insert(answer.ids.end(), delta->token_ids.begin(), delta->token_ids.end());
    for (const auto& token : delta->logprobs) AppendBits(token, answer);
  }
}

std::vector<GenerateOptions> Questions(const nlohmann::json& golden) {
  std::vector<GenerateOptions> questions;
  for (const auto& prompt : golden.at("prompts")) {
    GenerateOptions options;
    options.prompt = prompt.at("input_ids").get<std::vector<uint32_t>>();
    options.sampling.temperature = 0.0f;
    options.stop.max_tokens = 24;
    options.stop.ignore_eos = true;
    options.output.logprobs = 5;
    options.output.token_ids = true;
    questions.push_back(options);
    options.sampling.temperature = 0.9f;
    options.sampling.top_p = 0.95f;
    options.sampling.repetition_penalty = 1.1f;
    options.sampling.seed = 20260301;
    questions.push_back(options);
  }
  return questions;
}

std::vector<Answer> AskLayout(const std::vector<std::string>& layout,
                              const std::vector<GenerateOptions>& questions) {
  std::vector<std::string> arguments = {
      "--model", Fixture("checkpoints/llama3_gqa").string(), "--dtype", "f32", "--threads", "1"};
  arguments.insert(arguments.end(), layout.begin(), layout.end());
  Server server(arguments);
  auto client = client::Client::Connect({.target = server.target()});
  INFO(client.status());
  REQUIRE(client.ok());
  std::vector<Answer> answers;
  for (const auto& question : questions) answers.push_back(Ask(**client, question));
  client->reset();
  CHECK(server.Stop() == 0);
  return answers;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += word + " ";
  return text;
}

TEST_CASE("twelve layouts over shm, Gloo and MPI give the same bits") {
  auto golden = ReadJson(Fixture("checkpoints/llama3_gqa/golden.json"));
  auto questions = Questions(golden);
  auto lone = AskLayout({"--tp", "1"}, questions);
  REQUIRE(lone.size() == 2 * golden.at("prompts").size());
  for (size_t i = 0; i < golden.at("prompts").size(); ++i) {
    CHECK(lone[2 * i].ids ==
          golden.at("prompts")[i].at("greedy").at("tokens").get<std::vector<uint32_t>>());
    CHECK(lone[2 * i].ids != lone[2 * i + 1].ids);  // the seeded ones are not greedy
  }

  std::vector<std::vector<std::string>> layouts = {
      {"--tp", "2"},
      {"--tp", "3"},
      {"--tp", "4"},
      {"--tp", "8"},
      {"--pp", "2"},
      {"--pp", "4"},
      {"--tp", "2", "--pp", "2"},
      {"--tp", "3", "--pp", "2"},
      {"--tp", "2", "--comm", "gloo"},
      {"--tp", "3", "--comm", "gloo"},
  };
  if (std::system("command -v mpirun >/dev/null") == 0) {
    layouts.push_back({"--tp", "2", "--comm", "mpi"});
    layouts.push_back({"--tp", "3", "--comm", "mpi"});
  } else {
    WARN("mpirun is missing: the two MPI layouts are left out");
  }
  for (const auto& layout : layouts) {
    INFO(Joined(layout));
    CHECK(AskLayout(layout, questions) == lone);
  }
}

}  // namespace
}  // namespace tessera::tests
