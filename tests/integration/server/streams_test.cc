// Many streams at a time, and streams that end early.
#include <catch2/catch.hpp>

#include <chrono>
#include <future>
#include <random>

#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

// Requests of mixed lengths and parameters; prompts are random ids of the vocabulary.
std::vector<v1::GenerateRequest> MixedRequests(int count, int max_prompt, int max_answer) {
  std::mt19937 random(5);
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < count; ++i) {
    std::vector<uint32_t> prompt(1 + random() % max_prompt);
    for (uint32_t& id : prompt) id = 4 + random() % 2000;
    v1::GenerateRequest request = Greedy(prompt, 1 + random() % max_answer);
    request.mutable_sampling()->set_temperature(i % 3 == 0 ? 0.0f : 0.8f);
    request.mutable_sampling()->set_seed(i);
    if (i % 4 == 1) request.mutable_sampling()->set_top_k(20);
    if (i % 4 == 2) request.mutable_sampling()->set_top_p(0.9f);
    if (i % 5 == 1) request.mutable_sampling()->set_frequency_penalty(0.5f);
    request.mutable_stop()->set_ignore_eos(i % 2 == 0);
    request.mutable_output()->set_logprobs(5);
    requests.push_back(request);
  }
  return requests;
}

// Returns the number of preemptions.
uint64_t CompareWithLoneRuns(const std::vector<v1::GenerateRequest>& requests,
                             const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {"--model", DemoModel().string(), "--tp", "2"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  Server server(arguments);
  Api api(server.target());
  std::vector<std::future<Reply>> together;
  for (const auto& request : requests) {
    together.push_back(
        std::async(std::launch::async, [&api, &request] { return api.Generate(request); }));
  }
  std::vector<Reply> replies;
  for (auto& reply : together) replies.push_back(reply.get());
  for (size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i << ": " << replies[i].status.error_message());
    REQUIRE(replies[i].status.ok());
    Reply lone = api.Generate(requests[i]);
    CHECK(replies[i].text == lone.text);
    CHECK(Bits(replies[i]) == Bits(lone));
  }
  v1::ServerStatus status = api.Status();
  CHECK(status.engine().kv_blocks_free() == status.engine().kv_blocks_total());
  return status.engine().preemptions_total();
}

TEST_CASE("64 concurrent streams equal their lone runs, tokens and logprobs bit for bit") {
  CompareWithLoneRuns(MixedRequests(64, 150, 40), {"--dtype", "f32"});
}

TEST_CASE("so they do in the stored dtype with small steps and a cache that forces preemptions") {
  CHECK(CompareWithLoneRuns(MixedRequests(64, 40, 120),
                            {"--max-num-batched-tokens", "64", "--num-kv-blocks", "24",
                             "--max-model-len", "256"}) > 0);
}

// A stream whose first delta has come.
struct Running {
  explicit Running(Api& api, uint32_t max_tokens = 1000) {
    v1::GenerateRequest request = Greedy({0, 581}, max_tokens);
    request.mutable_stop()->set_ignore_eos(true);
    reader = api.inference().Generate(&context, request);
    v1::GenerateResponse response;
    while (reader->Read(&response) && !response.has_delta()) {
    }
    REQUIRE(response.has_delta());
  }
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader;
};

bool Idle(const v1::ServerStatus& status) {
  return status.engine().running() == 0 &&
         status.engine().kv_blocks_free() == status.engine().kv_blocks_total();
}

TEST_CASE("a cancelled stream frees its blocks") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  {
    Running running(api);
    running.context.TryCancel();
    CHECK(ReadAll(*running.reader).status.error_code() == grpc::StatusCode::CANCELLED);
  }
  CHECK(api.AwaitStatus(Idle));
  CHECK(api.Status().engine().requests_cancelled() == 1);
}

TEST_CASE("a client that vanishes frees its blocks") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  {
    Api vanishing(server.target());
    Running running(vanishing);
  }
  CHECK(api.AwaitStatus(Idle));
}

TEST_CASE("a deadline ends a stream on both sides") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  v1::GenerateRequest request = Greedy({0, 581}, 1000);
  request.mutable_stop()->set_ignore_eos(true);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(150));
  auto reader = api.inference().Generate(&context, request);
  CHECK(ReadAll(*reader).status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK(api.AwaitStatus(Idle));
}

TEST_CASE("a request_id is refused while it is in use, and free afterwards") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  v1::GenerateRequest request = Greedy({0, 581}, 1000);
  request.set_request_id("mine");
  request.mutable_stop()->set_ignore_eos(true);
  grpc::ClientContext context;
  auto reader = api.inference().Generate(&context, request);
  v1::GenerateResponse response;
  REQUIRE(reader->Read(&response));
  CHECK(response.request_id() == "mine");
  CHECK(api.Generate(request).status.error_code() == grpc::StatusCode::ALREADY_EXISTS);
  context.TryCancel();
  ReadAll(*reader);
  REQUIRE(api.AwaitStatus(Idle));
  request.mutable_stop()->set_max_tokens(2);
  CHECK(api.Generate(request).status.ok());
}

TEST_CASE("a full queue refuses with RESOURCE_EXHAUSTED") {
  Server server({"--model", DemoModel().string(), "--max-num-seqs", "1", "--max-queue", "1"});
  Api api(server.target());
  Running running(api);
  v1::GenerateRequest request = Greedy({0, 581}, 2);
  auto waiting = std::async(std::launch::async, [&] { return api.Generate(request); });
  REQUIRE(api.AwaitStatus([](const auto& status) { return status.engine().waiting() == 1; }));
  Reply refused = api.Generate(request);
  CHECK(refused.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK_FALSE(refused.status.error_details().empty());
  running.context.TryCancel();
  CHECK(waiting.get().status.ok());
}

}  // namespace
}  // namespace tessera::tests
