// The same for long: 200 losses, and what is left behind after 500.
#include <signal.h>

#include <catch2/catch.hpp>
#include <cstdio>

#include "tests/fault/walk/kill_walk.h"
#include "tests/fault/walk/resources.h"
#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

TEST_CASE("200 kills over four ranks change no stream") {
  WalkAndCheck({.layout = {"--tp", "2", "--pp", "2"}, .losses = 100, .stops = false, .seed = 3});
  WalkAndCheck({.layout = {"--tp", "3"}, .losses = 100, .seed = 4});
}

// Every request in it, and every step, has ended when it returns.
void LoseAndAsk(Server& server, Api& api, int round) {
  auto workers = ChildrenOf(server.process().pid());
  REQUIRE_FALSE(workers.empty());
  kill(workers[round % workers.size()], round % 5 == 4 ? SIGSTOP : SIGKILL);
  Reply reply = api.Generate(Greedy({0, 581, 601}, 4));
  REQUIRE(reply.status.ok());
}

TEST_CASE("500 losses leave no process, descriptor, socket or memory behind") {
  Server server({"--model", DemoModel().string(), "--tp", "2", "--log-level", "error",
                 "--step-timeout", "2"});
  Api api(server.target());
  for (int round = 0; round < 20; ++round) LoseAndAsk(server, api, round);
  const Resources before = ResourcesOf(server.process().pid());
  for (int round = 0; round < 500; ++round) LoseAndAsk(server, api, round);
  const Resources after = ResourcesOf(server.process().pid());
  std::printf(
      "children %zu, %zu; threads %zu, %zu; descriptors %zu, %zu; sockets %zu, %zu; "
      "private memory %llu, %llu KB\n",
      before.children, after.children, before.threads, after.threads, before.descriptors,
      after.descriptors, before.sockets, after.sockets,
      static_cast<unsigned long long>(before.memory_kb),
      static_cast<unsigned long long>(after.memory_kb));
  CHECK(after.children == before.children);
  CHECK(after.threads == before.threads);
  CHECK(after.descriptors == before.descriptors);
  CHECK(after.sockets == before.sockets);
  CHECK(after.memory_kb < before.memory_kb * 1.05);
}

}  // namespace
}  // namespace tessera::tests
