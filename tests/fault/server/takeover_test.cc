// A replica dies under load: another one goes on with its streams, at once.
#include <signal.h>
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/fault/server/load.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

void CheckSame(const std::vector<Reply>& replies, const std::vector<Reply>& undisturbed) {
  REQUIRE(replies.size() == undisturbed.size());
  for (size_t i = 0; i < replies.size(); ++i) {
    INFO("stream " << i << ": " << replies[i].status.error_message());
    CHECK(replies[i].status.ok());
    CHECK(replies[i].text == undisturbed[i].text);
    CHECK(replies[i].ids == undisturbed[i].ids);
  }
}

TEST_CASE(
    "the streams of a killed replica go on on the other, with the text of an undisturbed run") {
  Server server({"--model", DemoModel().string(), "--dp", "2", "--dtype", "f32"});
  Api api(server.target());
  std::vector<Reply> undisturbed = Load(api, 8, 400).Wait();
  Load load(api, 8, 400);
  v1::ServerStatus status = api.Status();
  REQUIRE(status.groups_size() == 2);
  REQUIRE(status.groups(1).engine().running() > 0);
  REQUIRE(kill(static_cast<pid_t>(status.groups(1).ranks(0).pid()), SIGKILL) == 0);
  CheckSame(load.Wait(), undisturbed);
  REQUIRE(api.AwaitStatus([](const v1::ServerStatus& now) {
    return now.groups(1).restarts() == 1 && now.groups(1).state() == v1::ServerStatus::READY;
  }));
  status = api.Status();
  CHECK(status.engine().requests_failed() == 0);
  CHECK(status.groups(0).restarts() == 0);
  REQUIRE(status.groups(1).losses_size() == 1);
  const v1::Loss& loss = status.groups(1).losses(0);
  CHECK(loss.requests_moved() > 0);
  CHECK(loss.requests_moved() == loss.requests_replayed());
  CHECK(server.process().output().find("the group of replica 1 is back") != std::string::npos);
  CHECK(status.engine().kv_blocks_free() == status.engine().kv_blocks_total());
  CHECK(server.Stop() == 0);
}

TEST_CASE("the server stays ready while one of its replicas is away") {
  Server server({"--model", DemoModel().string(), "--dp", "2"});
  Api api(server.target());
  grpc::ClientContext context;
  auto watch = api.health().Watch(&context, {});
  grpc::health::v1::HealthCheckResponse response;
  REQUIRE(watch->Read(&response));
  REQUIRE(response.status() == grpc::health::v1::HealthCheckResponse::SERVING);
  kill(static_cast<pid_t>(api.Status().groups(0).ranks(0).pid()), SIGKILL);
  REQUIRE(api.AwaitStatus(
      [](const v1::ServerStatus& status) { return status.groups(0).losses_size() == 1; }));
  CHECK(api.Status().state() == v1::ServerStatus::READY);
  CHECK(api.Generate(Greedy({0, 300}, 4)).status.ok());
  // Nothing else is told before the drain.
  server.process().Signal(SIGTERM);
  REQUIRE(watch->Read(&response));
  CHECK(response.status() == grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  CHECK(server.process().output().find("not ready") == std::string::npos);
  context.TryCancel();
  CHECK(server.process().WaitForExit() == 0);
}

TEST_CASE("a replica of remote workers that does not come back leaves its streams to the other") {
  TempDir folder;
  const std::string secret = (folder.path() / "secret").string();
  std::ofstream(secret) << "a secret of the test\n";
  TcpWorker first(secret), second(secret);  // nobody starts them again
  Server server({"--model", DemoModel().string(), "--dp", "2", "--dtype", "f32", "--secret-file",
                 secret, "--workers", first.address() + "," + second.address()});
  Api api(server.target());
  std::vector<Reply> undisturbed = Load(api, 6, 300).Wait();
  Load load(api, 6, 300);
  REQUIRE(api.Status().groups(1).engine().running() > 0);
  second.process().Signal(SIGKILL);
  CheckSame(load.Wait(), undisturbed);
  const v1::ServerStatus status = api.Status();
  CHECK(status.state() == v1::ServerStatus::READY);
  CHECK(status.message().find("replica 1") != std::string::npos);
  CHECK(status.groups(1).state() == v1::ServerStatus::RECOVERING);
  CHECK(server.Stop() == 0);
}

TEST_CASE("a poisonous request kills no more than two groups at a time, and fails alone") {
  setenv("TESSERA_TEST_EXIT_ON_TOKEN", "97", 1);  // "~", which no story has
  Server server({"--model", DemoModel().string(), "--dp", "3", "--dtype", "f32"});
  unsetenv("TESSERA_TEST_EXIT_ON_TOKEN");
  Api api(server.target());
  std::vector<Reply> undisturbed = Load(api, 15, 60).Wait();
  Load load(api, 15, 60);
  const Reply poison = api.Generate(Greedy({0, 581, 97, 601}, 20));
  CHECK(poison.status.error_code() == grpc::StatusCode::ABORTED);
  CheckSame(load.Wait(), undisturbed);
  const v1::ServerStatus status = api.Status();
  CHECK(status.engine().requests_failed() == 1);
  int untouched = 0;
  for (const v1::GroupStatus& group : status.groups()) untouched += group.losses_size() == 0;
  CHECK(untouched == 1);
  CHECK(server.process().output().find("not ready") == std::string::npos);
  CHECK(server.Stop() == 0);
}

}  // namespace
}  // namespace tessera::tests
