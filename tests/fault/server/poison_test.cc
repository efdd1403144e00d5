// A request that ends or fails every worker that computes it is given up alone.
#include <stdlib.h>

#include <catch2/catch.hpp>

#include "proto/rpc/error_site.h"
#include "proto/rpc/status.h"
#include "tests/fault/server/load.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

// "~", which no story has.
constexpr uint32_t kPoison = 97;

// What workers that are started meanwhile do where a step holds the poison.
class PoisonedWorkers {
 public:
  explicit PoisonedWorkers(const char* variable) : variable_(variable) {
    setenv(variable, std::to_string(kPoison).c_str(), 1);
  }
  ~PoisonedWorkers() { unsetenv(variable_); }

 private:
  const char* const variable_;
};

// Asks for the poison among 31 others, which end as they would without it.
Reply Poison(Api& api) {
  std::vector<Reply> undisturbed = Load(api, 31, 60).Wait();
  REQUIRE(api.Status().groups(0).restarts() == 0);
  Load load(api, 31, 60);
  Reply poison = api.Generate(Greedy({0, 581, kPoison, 601}, 20));
  CHECK(poison.status.error_code() == grpc::StatusCode::ABORTED);
  std::vector<Reply> replies = load.Wait();
  for (size_t i = 0; i < replies.size(); ++i) {
    INFO("stream " << i << ": " << replies[i].status.error_message());
    CHECK(replies[i].status.ok());
    CHECK(replies[i].ids == undisturbed[i].ids);
  }
  v1::ServerStatus status = api.Status();
  CHECK(status.engine().requests_failed() == 1);
  CHECK(status.groups(0).losses_size() >= 3);
  CHECK(status.groups(0).losses(0).has_rank());
  CHECK(status.groups(0).losses(0).pause_seconds() > 0);
  return poison;
}

TEST_CASE("a request that kills its workers is given up with ABORTED, and 31 others finish") {
  PoisonedWorkers poisoned("TESSERA_TEST_EXIT_ON_TOKEN");
  Server server({"--model", DemoModel().string(), "--tp", "2", "--dtype", "f32"});
  Api api(server.target());
  const Reply poison = Poison(api);
  INFO(poison.status.error_message());
  CHECK(poison.status.error_message().find("exit code 86") != std::string::npos);
  CHECK(rpc::GetErrorSite(rpc::FromGrpc(poison.status)).rank.has_value());
  CHECK(server.Stop() == 0);
}

TEST_CASE("a step's error names its rank, file and line to the client, in the status and the log") {
  PoisonedWorkers poisoned("TESSERA_TEST_FAIL_ON_TOKEN");
  Server server({"--model", DemoModel().string(), "--tp", "2", "--dtype", "f32"});
  Api api(server.target());
  const Reply poison = Poison(api);
  const rpc::ErrorSite site = rpc::GetErrorSite(rpc::FromGrpc(poison.status));
  REQUIRE(site.rank.has_value());
  CHECK(*site.rank < 2);
  CHECK(site.file == "worker/app/runner_rank.cc");
  CHECK(site.line > 0);
  const std::string cause = "rank " + std::to_string(*site.rank) +
                            ": test: a step holds token 97 (" + site.file + ":" +
                            std::to_string(site.line) + ")";
  INFO(poison.status.error_message());
  CHECK(poison.status.error_message().find(cause) != std::string::npos);
  // The last of its deaths is the last loss.
  const v1::ServerStatus status = api.Status();
  const v1::GroupStatus& group = status.groups(0);
  CHECK(group.last_loss() == cause);
  CHECK(group.losses(group.losses_size() - 1).cause() == cause);
  CHECK(group.losses(group.losses_size() - 1).rank() == *site.rank);
  CHECK(server.process().output().find(cause) != std::string::npos);
  CHECK(server.Stop() == 0);
}

}  // namespace
}  // namespace tessera::tests
