#include "tests/fault/walk/kill_walk.h"

#include <signal.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <random>
#include <thread>

#include "tests/fault/walk/mixed_streams.h"
#include "tests/fault/walk/resources.h"
#include "tests/integration/server/api.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

constexpr std::chrono::seconds kLongestPause{10};

// Sends signals to the workers of a server, at random.
class Killer {
 public:
  Killer(const WalkOptions& options, Server& server)
      : options_(options), server_(server), api_(server.target()), random_(options.seed) {}

  void Run() {
    for (int loss = 0; loss < options_.losses; ++loss) {
      // Not twice running: a request that dies three times without a token counts as poisonous.
      const bool at_once = options_.at_once && loss % 3 == 2;
      if (!at_once) AwaitTokens(api_, 64);
      std::this_thread::sleep_for(std::chrono::milliseconds(Pick(at_once ? 60 : 250)));
      Lose();
    }
  }

 private:
  uint64_t Pick(uint64_t below) { return random_() % below; }

  void Lose() {
    int signal_number = options_.stops && Pick(3) == 0 ? SIGSTOP : SIGKILL;
    std::vector<pid_t> workers;
    auto deadline = Clock::now() + kHangLimit;
    while (workers.empty() && Clock::now() < deadline)
      workers = ChildrenOf(server_.process().pid());
    REQUIRE_FALSE(workers.empty());
    if (Pick(4) != 0) workers = {workers[Pick(workers.size())]};
    for (pid_t worker : workers) kill(worker, signal_number);
  }

  const WalkOptions& options_;
  Server& server_;
  Api api_;
  std::mt19937_64 random_;
};

}  // namespace

v1::ServerStatus WalkAndCheck(const WalkOptions& options) {
  std::vector<std::string> flags = {"--model", DemoModel().string(), "--log-level", "warning"};
  flags.insert(flags.end(), options.layout.begin(), options.layout.end());
  Server server(flags);
  Api api(server.target());
  MixedStreams streams(api, options.streams);
  const std::vector<Timed> answers = streams.AskDuring([&] { Killer(options, server).Run(); });
  streams.CheckNothingLost();
  const v1::ServerStatus status = api.Status();
  int while_made = 0;
  for (const v1::GroupStatus& group : status.groups()) {
    CHECK(group.restarts() > 0);
    CHECK(group.losses_size() > 0);
    for (const v1::Loss& loss : group.losses()) {
      INFO("epoch " << loss.epoch() << ": " << loss.cause());
      CHECK(loss.has_rank());
      CHECK_FALSE(loss.cause().empty());
      CHECK(loss.pause_seconds() > 0);
      while_made += !loss.was_ready();
    }
  }
  Clock::duration longest = {};
  for (const Pause& pause : PausesOf(answers)) {
    longest = std::max(longest, pause.end - pause.begin);
  }
  std::printf(
      "%d kills and stops, %zu streams, the longest pause %.0f ms; of the last losses %d "
      "came while a group was made\n",
      options.losses, answers.size(), Milliseconds(longest), while_made);
  CHECK(longest < kLongestPause);
  CHECK(server.Stop() == 0);
  return status;
}

}  // namespace tessera::tests
