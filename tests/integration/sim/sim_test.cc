// Deployments of simulated ranks: everything above the kernels is real, nothing is computed.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

// Fast enough for a test: a step takes half a millisecond.
std::vector<std::string> SimFlags(const std::filesystem::path& model,
                                  const std::vector<std::string>& more = {}) {
  std::vector<std::string> flags = {"--model",        model.string(), "--device",       "sim",
                                    "--sim-fixed-us", "500",          "--sim-token-us", "1"};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

v1::GenerateRequest Seeded(uint32_t max_tokens) {
  v1::GenerateRequest request = Greedy({5, 6, 7, 8}, max_tokens);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_seed(3);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_output()->set_logprobs(2);
  return request;
}

TEST_CASE("a folder without weights is served, and all layouts give one answer") {
  TempDir folder;
  for (const char* file : {"config.json", "generation_config.json", "tokenizer.json",
                           "tokenizer_config.json", "special_tokens_map.json"}) {
    std::filesystem::copy_file(DemoModel() / file, folder.path() / file);
  }
  std::vector<std::vector<uint32_t>> answers;
  for (const std::vector<std::string>& layout :
       {std::vector<std::string>{}, {"--tp", "2", "--pp", "4"}}) {
    Server server(SimFlags(folder.path(), layout));
    Api api(server.target());
    Reply reply = api.Generate(Seeded(40));
    INFO(reply.status.error_message());
    REQUIRE(reply.status.ok());
    CHECK(reply.ids.size() == 40);
    CHECK(reply.logprobs.front().top_size() == 2);
    CHECK(reply.accepted->numerics_id().find("/sim/") != std::string::npos);
    answers.push_back(Bits(reply));
    CHECK(server.Stop() == 0);
  }
  CHECK(answers[0] == answers[1]);
}

TEST_CASE("one process plays 64 ranks") {
  Server server(SimFlags(DemoModel(), {"--tp", "8", "--pp", "8"}));
  Api api(server.target());
  Reply reply = api.Generate(Seeded(8));
  REQUIRE(reply.status.ok());
  v1::ServerStatus status = api.Status();
  REQUIRE(status.groups(0).ranks_size() == 64);
  std::set<uint32_t> processes;
  for (const auto& rank : status.groups(0).ranks()) processes.insert(rank.pid());
  CHECK(processes.size() == 1);
  CHECK(server.Stop() == 0);
}

TEST_CASE("the end of the context ends a sequence that ignores stop ids") {
  Server server(SimFlags(DemoModel(), {"--max-model-len", "32"}));
  Api api(server.target());
  v1::GenerateRequest request = Seeded(1);
  request.mutable_stop()->clear_max_tokens();
  Reply reply = api.Generate(request);
  REQUIRE(reply.status.ok());
  CHECK(reply.ids.size() == 28);
  CHECK(reply.finished->reason() == v1::Finished::LENGTH);
}

TEST_CASE("the poison token ends the process of the ranks, and the group comes back") {
  Server server(SimFlags(DemoModel(), {"--pp", "2", "--sim-poison-token", "77"}));
  Api api(server.target());
  REQUIRE(api.Generate(Seeded(4)).status.ok());
  grpc::ClientContext context;
  auto poisoned = api.inference().Generate(&context, Greedy({5, 77}, 4));
  CHECK(api.AwaitStatus([](const v1::ServerStatus& status) {
    return status.groups(0).last_loss().find("exit code 86") != std::string::npos;
  }));
  context.TryCancel();
  Reply unanswered = ReadAll(*poisoned);
  CHECK(unanswered.ids.empty());
  CHECK_FALSE(unanswered.status.ok());
  CHECK(api.AwaitStatus([](const v1::ServerStatus& status) {
    return status.state() == v1::ServerStatus::READY && status.groups(0).epoch() > 1;
  }));
  CHECK(api.Generate(Seeded(4)).status.ok());
}

TEST_CASE("a trace tells when each stage was busy") {
  TempDir folder;
  const std::filesystem::path trace = folder.path() / "trace.jsonl";
  {
    Server server(SimFlags(DemoModel(), {"--pp", "4", "--sim-trace", trace.string()}));
    REQUIRE(Api(server.target()).Generate(Seeded(5)).status.ok());
    CHECK(server.Stop() == 0);
  }
  std::istringstream lines(ReadFile(trace));
  size_t steps = 0;
  for (std::string line; std::getline(lines, line);) {
    auto step = nlohmann::json::parse(line);
    if (step.at("tokens") == 0) continue;
    ++steps;
    REQUIRE(step.at("stages_us").size() == 4);
    for (size_t stage = 1; stage < 4; ++stage) {
      CHECK(step["stages_us"][stage][0] >= step["stages_us"][stage - 1][1]);
    }
  }
  // A prompt and four more tokens, and the server's own first pass.
  CHECK(steps >= 5);
}

}  // namespace
}  // namespace tessera::tests
