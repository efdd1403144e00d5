// Replicas behind one server: one answer, work for each of them, and figures of each.
#include <catch2/catch.hpp>

#include <filesystem>
#include <future>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

v1::GenerateRequest Question(int number) {
  std::vector<uint32_t> prompt = {0};
  for (int i = 0; i < 5 + number * 7; ++i) prompt.push_back(260 + (number * 37 + i * 11) % 700);
  v1::GenerateRequest request = Greedy(prompt, 150 + number);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_output()->set_logprobs(number % 3);
  v1::SamplingParams& sampling = *request.mutable_sampling();
  sampling.set_seed(40 + number);
  if (number % 2 == 1) sampling.set_temperature(0.9f);
  if (number % 4 == 3) sampling.set_n(3);
  return request;
}

std::vector<Reply> AskAll(Api& api) {
  std::vector<std::future<Reply>> asked;
  for (int i = 0; i < 16; ++i) {
    asked.push_back(
        std::async(std::launch::async, [&api, i] { return api.Generate(Question(i)); }));
  }
  std::vector<Reply> replies;
  for (auto& reply : asked) replies.push_back(reply.get());
  return replies;
}

TEST_CASE("replicas share the requests, and every answer is that of a server without them") {
  std::vector<Reply> alone;
  {
    Server server({"--model", DemoModel().string()});
    Api api(server.target());
    alone = AskAll(api);
  }
  for (const char* tp : {"1", "2"}) {
    Server server({"--model", DemoModel().string(), "--dp", "2", "--tp", tp, "--threads", "2"});
    Api api(server.target());
    const std::vector<Reply> replies = AskAll(api);
    for (size_t i = 0; i < replies.size(); ++i) {
      INFO("tp " << tp << ", request " << i << ": " << replies[i].status.error_message());
      REQUIRE(replies[i].status.ok());
      // Sequences of one request come in any order beside each other.
      if (Question(static_cast<int>(i)).sampling().n() < 2) {
        CHECK(replies[i].text == alone[i].text);
        CHECK(Bits(replies[i]) == Bits(alone[i]));
      }
      CHECK(replies[i].ids.size() == alone[i].ids.size());
    }
    const v1::ServerStatus status = api.Status();
    REQUIRE(status.groups_size() == 2);
    uint64_t requests = 0;
    for (const v1::GroupStatus& group : status.groups()) {
      CHECK(group.state() == v1::ServerStatus::READY);
      CHECK(group.engine().steps_total() > 0);
      CHECK(group.engine().requests_total() > 0);
      requests += group.engine().requests_total();
    }
    CHECK(requests == 16);
    CHECK(status.engine().requests_total() == 16);
    CHECK(status.groups(0).ranks(0).pid() != status.groups(1).ranks(0).pid());
    CHECK(server.Stop() == 0);
  }
}

TEST_CASE("a prompt goes to the replica that has computed its beginning") {
  Server server({"--model", DemoModel().string(), "--dp", "2"});
  Api api(server.target());
  v1::GenerateRequest request = Question(15);  // 110 tokens
  request.mutable_sampling()->set_n(1);
  for (int i = 0; i < 6; ++i) {
    const Reply reply = api.Generate(request);
    REQUIRE(reply.status.ok());
    const v1::Usage& usage = reply.finished->usage();
    CHECK(usage.cached_tokens() == (i == 0 ? 0 : usage.prompt_tokens() - 1));
  }
  const v1::ServerStatus status = api.Status();
  CHECK(status.groups(0).engine().requests_total() * status.groups(1).engine().requests_total() ==
        0);
}

TEST_CASE("simulated replicas are a process each, with a trace for each") {
  TempDir folder;
  const std::string trace = (folder.path() / "trace").string();
  Server server({"--model", DemoModel().string(), "--device", "sim", "--sim-fixed-us", "500",
                 "--dp", "3", "--tp", "2", "--sim-trace", trace});
  Api api(server.target());
  for (const Reply& reply : AskAll(api)) CHECK(reply.status.ok());
  const v1::ServerStatus status = api.Status();
  REQUIRE(status.groups_size() == 3);
  CHECK(status.groups(1).ranks(0).pid() == status.groups(1).ranks(1).pid());
  CHECK(status.groups(1).ranks(0).pid() != status.groups(2).ranks(0).pid());
  CHECK(server.Stop() == 0);
  for (int i = 0; i < 3; ++i) {
    CHECK(std::filesystem::file_size(trace + "." + std::to_string(i)) > 0);
  }
}

}  // namespace
}  // namespace tessera::tests
