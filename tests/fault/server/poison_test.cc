// A request that ends every worker that computes it is given up alone.
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

class PoisonedWorkers {
 public:
  PoisonedWorkers() { setenv("TESSERA_TEST_EXIT_ON_TOKEN", std::to_string(kPoison).c_str(), 1); }
  ~PoisonedWorkers() { unsetenv("TESSERA_TEST_EXIT_ON_TOKEN"); }
};

TEST_CASE("a request that kills its workers is given up with ABORTED, and 31 others finish") {
  PoisonedWorkers poisoned;
  Server server({"--model", DemoModel().string(), "--tp", "2", "--dtype", "f32"});
  Api api(server.target());
  std::vector<Reply> undisturbed = Load(api, 31, 60).Wait();
  REQUIRE(api.Status().groups(0).restarts() == 0);

  Load load(api, 31, 60);
  Reply poison = api.Generate(Greedy({0, 581, kPoison, 601}, 20));
  CHECK(poison.status.error_code() == grpc::StatusCode::ABORTED);
  INFO(poison.status.error_message());
  CHECK(poison.status.error_message().find("exit code 86") != std::string::npos);
  CHECK(rpc::GetErrorSite(rpc::FromGrpc(poison.status)).rank.has_value());
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
  CHECK(server.Stop() == 0);
}

}  // namespace
}  // namespace tessera::tests
