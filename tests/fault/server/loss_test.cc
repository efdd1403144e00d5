// A worker that dies or hangs under load: every stream pauses, and goes on as if nothing had been.
#include <signal.h>

#include <catch2/catch.hpp>

#include "tests/fault/server/load.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

void LoseWorkerUnderLoad(int signal_number) {
  Server server({"--model", DemoModel().string(), "--tp", "2", "--dtype", "f32"});
  Api api(server.target());
  std::vector<Reply> undisturbed = Load(api, 8, 300).Wait();
  pid_t victim = static_cast<pid_t>(api.Status().groups(0).ranks(1).pid());
  REQUIRE(victim > 0);

  Load load(api, 8, 300);
  auto begin = std::chrono::steady_clock::now();
  REQUIRE(kill(victim, signal_number) == 0);
  std::vector<Reply> replies = load.Wait();
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
  for (size_t i = 0; i < replies.size(); ++i) {
    INFO("stream " << i << ": " << replies[i].status.error_message());
    CHECK(replies[i].status.ok());
    CHECK(replies[i].text == undisturbed[i].text);
    CHECK(replies[i].ids == undisturbed[i].ids);
    CHECK(replies[i].ids.size() == 300);
    REQUIRE(replies[i].finished.has_value());
    CHECK(replies[i].finished->usage().completion_tokens() == 300);
  }
  v1::ServerStatus status = api.Status();
  CHECK(status.state() == v1::ServerStatus::READY);
  CHECK(status.engine().requests_failed() == 0);
  CHECK(status.groups(0).restarts() == 1);
  CHECK(status.groups(0).last_loss().find("rank 1") != std::string::npos);
  CHECK(status.groups(0).ranks(1).pid() != static_cast<uint32_t>(victim));
  CHECK(status.engine().kv_blocks_free() == status.engine().kv_blocks_total());
  CHECK(server.Stop() == 0);
}

TEST_CASE("streams go on when a worker is killed, with the text of an undisturbed run") {
  LoseWorkerUnderLoad(SIGKILL);
}

TEST_CASE("streams go on when a worker is stopped, with the text of an undisturbed run") {
  LoseWorkerUnderLoad(SIGSTOP);
}

TEST_CASE("a drain that meets a loss waits for the group and ends its requests") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  pid_t victim = static_cast<pid_t>(api.Status().groups(0).ranks(0).pid());
  Load load(api, 4, 300);
  server.process().Signal(SIGTERM);
  REQUIRE(server.process().WaitForLine("draining"));
  REQUIRE(kill(victim, SIGKILL) == 0);
  CHECK(server.process().WaitForExit() == 0);
  for (const Reply& reply : load.Wait()) {
    CHECK(reply.status.ok());
    CHECK(reply.ids.size() == 300);
  }
}

TEST_CASE("a drain that begins while the group is away waits for it and ends its requests") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  pid_t victim = static_cast<pid_t>(api.Status().groups(0).ranks(1).pid());
  Load load(api, 4, 300);
  REQUIRE(kill(victim, SIGKILL) == 0);
  REQUIRE(server.process().WaitForLine("lost in epoch"));
  server.process().Signal(SIGTERM);
  REQUIRE(server.process().WaitForLine("draining"));
  Reply late = api.Generate(Greedy({0, 581}, 4));
  CHECK(late.status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(server.process().WaitForExit() == 0);
  for (const Reply& reply : load.Wait()) {
    CHECK(reply.status.ok());
    CHECK(reply.ids.size() == 300);
  }
  // In this order.
  const std::string log = server.process().output();
  CHECK(log.find("lost in epoch") < log.find("draining"));
  CHECK(log.find("is back after") != std::string::npos);
}

TEST_CASE("health is not ready while the group is away") {
  Server server({"--model", DemoModel().string(), "--tp", "2"});
  Api api(server.target());
  grpc::ClientContext context;
  auto watch = api.health().Watch(&context, {});
  grpc::health::v1::HealthCheckResponse response;
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == grpc::health::v1::HealthCheckResponse::SERVING);
  kill(static_cast<pid_t>(api.Status().groups(0).ranks(0).pid()), SIGKILL);
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == grpc::health::v1::HealthCheckResponse::SERVING);
  context.TryCancel();
}

}  // namespace
}  // namespace tessera::tests
