// The same for long: 200 losses, 100 cuts, and what is left behind after 500.
#include <signal.h>

#include <catch2/catch.hpp>
#include <cstdio>

#include "tests/fault/walk/cut_walk.h"
#include "tests/fault/walk/kill_walk.h"
#include "tests/fault/walk/resources.h"
#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

TEST_CASE("200 kills over four ranks change no stream") {
  WalkAndCheck({.layout = {"--tp", "2", "--pp", "2"}, .losses = 100, .stops = false, .seed = 3});
  WalkAndCheck({.layout = {"--tp", "3"}, .losses = 60, .seed = 4});
  WalkAndCheck({.layout = {"--tp", "2", "--speculate", "ngram"}, .losses = 20, .seed = 5});
  WalkAndCheck({.layout = {"--tp", "2", "--num-kv-blocks", "100", "--kv-offload", "64MiB"},
                .losses = 20,
                .at_once = false,
                .seed = 6});
}

constexpr auto kFirst = TwoHosts::Host::kFirst;
constexpr auto kSecond = TwoHosts::Host::kSecond;

TEST_CASE("30 cuts between three tensor-parallel ranks change no stream") {
  CutAndCheck(
      {.layout = {"--tp", "3"}, .workers = {kFirst, kSecond, kSecond}, .cuts = 30, .seed = 5});
}

TEST_CASE("30 cuts between two stages of two ranks change no stream") {
  CutAndCheck({.layout = {"--tp", "2", "--pp", "2"},
               .workers = {kFirst, kFirst, kSecond, kSecond},
               .cuts = 30,
               .seed = 6});
}

TEST_CASE("40 cuts of one of two replicas change no stream") {
  CutAndCheck({.layout = {"--dp", "2", "--tp", "2"},
               .workers = {kFirst, kFirst, kFirst, kSecond},
               .spared = true,
               .cuts = 40,
               .seed = 7});
}

// Every request in it, and every step, has ended when it returns.
void LoseAndAsk(Server& server, Api& api, int round) {
  auto workers = ChildrenOf(server.process().pid());
  REQUIRE_FALSE(workers.empty());
  kill(workers[round % workers.size()], round % 5 == 4 ? SIGSTOP : SIGKILL);
  Reply reply = api.Generate(Greedy({0, 581, 601}, 4));
  REQUIRE(reply.status.ok());
}

void Print(const Resources& resources) {
  std::printf(
      "%zu children, %zu threads, %zu descriptors, %zu sockets, %llu KB of private memory\n",
      resources.children, resources.threads, resources.descriptors, resources.sockets,
      static_cast<unsigned long long>(resources.memory_kb));
}

TEST_CASE("500 losses leave no process, descriptor, socket or memory behind") {
  Server server({"--model", DemoModel().string(), "--tp", "2", "--log-level", "error",
                 "--step-timeout", "2"});
  Api api(server.target());
  // The first losses fill the logs that are bounded, and the allocator's arenas: each grows until
  // it has served the thread that needs most.
  for (int round = 0; round < 500; ++round) LoseAndAsk(server, api, round);
  const Resources before = ResourcesOf(server.process().pid());
  Print(before);
  for (int round = 0; round < 500; ++round) {
    LoseAndAsk(server, api, round);
    if (round % 100 == 99) Print(ResourcesOf(server.process().pid()));
  }
  const Resources after = ResourcesOf(server.process().pid());
  CHECK(after.children == before.children);
  CHECK(after.threads <= before.threads + 2);  // gRPC keeps one or the other as it likes
  CHECK(after.descriptors == before.descriptors);
  CHECK(after.sockets == before.sockets);
  CHECK(after.memory_kb < before.memory_kb * 1.05);
}

}  // namespace
}  // namespace tessera::tests
