// A worker that dies or hangs under load: its requests fail with a hint, the server goes on.
#include <signal.h>

#include <catch2/catch.hpp>

#include "proto/rpc/status.h"
#include "tests/fault/server/load.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

void LoseWorkerUnderLoad(int signal_number) {
  Server server({"--model", DemoModel().string(), "--tp", "2", "--dtype", "f32"});
  Api api(server.target());
  Reply before = api.Generate(Greedy({0, 581, 601, 261, 520}, 20));
  REQUIRE(before.status.ok());
  v1::ServerStatus status = api.Status();
  pid_t victim = static_cast<pid_t>(status.groups(0).ranks(1).pid());
  REQUIRE(victim > 0);

  Load load(api, 8, 900);
  auto begin = std::chrono::steady_clock::now();
  REQUIRE(kill(victim, signal_number) == 0);
  for (const Reply& reply : load.Wait()) {
    CHECK(reply.status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(reply.status.error_message().find("rank 1") != std::string::npos);
    CHECK(rpc::RetryDelay(rpc::FromGrpc(reply.status)) > absl::ZeroDuration());
  }
  // New requests wait for the group and get the same answer as before.
  Reply after = api.Generate(Greedy({0, 581, 601, 261, 520}, 20));
  CHECK(after.status.ok());
  CHECK(after.ids == before.ids);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(30));
  status = api.Status();
  CHECK(status.state() == v1::ServerStatus::READY);
  CHECK(status.groups(0).restarts() == 1);
  CHECK(status.groups(0).last_loss().find("rank 1") != std::string::npos);
  CHECK(status.groups(0).ranks(1).pid() != static_cast<uint32_t>(victim));
  CHECK(status.engine().kv_blocks_free() == status.engine().kv_blocks_total());
  CHECK(server.Stop() == 0);
}

TEST_CASE("a killed worker fails the running requests, and the group comes back") {
  LoseWorkerUnderLoad(SIGKILL);
}

TEST_CASE("a stopped worker is noticed and replaced like a killed one") {
  LoseWorkerUnderLoad(SIGSTOP);
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
