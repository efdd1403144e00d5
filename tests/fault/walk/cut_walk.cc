#include "tests/fault/walk/cut_walk.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <random>
#include <thread>

#include "absl/strings/str_join.h"
#include "tests/fault/walk/mixed_streams.h"
#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace tessera::tests {
namespace {

using Host = TwoHosts::Host;
using std::chrono::milliseconds;

constexpr milliseconds kStepTimeout{1000};
// Above the second that it should take at most, for machines that are busy with something else.
constexpr milliseconds kRecovery{10000};

// Unplugs the wire and plugs it in again, at random.
class Cutter {
 public:
  Cutter(const CutWalkOptions& options, TwoHosts& hosts, Api& api)
      : options_(options), hosts_(hosts), api_(api), random_(options.seed) {}

  void Run() {
    for (int cut = 0; cut < options_.cuts; ++cut) {
      // Now and then while the group is being made again.
      const bool at_once = cut % 3 == 2;
      if (!at_once) AwaitTokens(api_, 64);
      std::this_thread::sleep_for(milliseconds(Pick(at_once ? 400 : 250)));
      CutOnce(/*brief=*/at_once || Pick(4) == 0);
    }
  }

  struct Cut {
    Pause wire;  // without it
    Pause held;  // the part of that after the loss was noticed, or all where that was not awaited
  };
  const std::vector<Cut>& cuts() const { return cuts_; }

 private:
  uint64_t Pick(uint64_t below) { return random_() % below; }

  uint64_t Epoch() {
    const v1::ServerStatus status = api_.Status();
    return status.groups(status.groups_size() - 1).epoch();
  }

  void CutOnce(bool brief) {
    // What runs on the first host alone must not lose its own address.
    const Host end = options_.spared || Pick(2) == 0 ? Host::kSecond : Host::kFirst;
    const uint64_t epoch = Epoch();
    const Clock::time_point begin = Clock::now();
    Clock::time_point noticed = begin;
    hosts_.Unplug(end);
    if (brief) {
      std::this_thread::sleep_for(milliseconds(Pick(900)));
    } else {
      REQUIRE(api_.AwaitStatus([&](const v1::ServerStatus& status) {
        return status.groups(status.groups_size() - 1).epoch() > epoch;
      }));
      noticed = Clock::now();
      std::this_thread::sleep_for(milliseconds(Pick(600)));
    }
    hosts_.PlugIn(end);
    cuts_.push_back({{begin, Clock::now()}, {noticed, Clock::now()}});
  }

  const CutWalkOptions& options_;
  TwoHosts& hosts_;
  Api& api_;
  std::mt19937_64 random_;
  std::vector<Cut> cuts_;
};

Clock::duration Overlap(const Pause& a, const Pause& b) {
  return std::max(Clock::duration::zero(), std::min(a.end, b.end) - std::max(a.begin, b.begin));
}

// Of the streams' pauses the longest; and the longest without what is held, for each of the cuts
// that lie in it.
struct Longest {
  Clock::duration whole = {};
  Clock::duration of_a_cut = {};
};
Longest LongestOf(const std::vector<Timed>& answers, const std::vector<Cutter::Cut>& cuts,
                  bool spared) {
  Longest longest;
  for (const Pause& pause : PausesOf(answers)) {
    Clock::duration rest = pause.end - pause.begin;
    longest.whole = std::max(longest.whole, rest);
    int count = 0;
    for (const Cutter::Cut& cut : cuts) {
      count += Overlap(pause, cut.wire) > Clock::duration::zero();
      if (!spared) rest -= Overlap(pause, cut.held);
    }
    longest.of_a_cut = std::max(longest.of_a_cut, rest / std::max(1, count));
  }
  return longest;
}

}  // namespace

void CutAndCheck(const CutWalkOptions& options) {
  TwoHosts hosts;
  TempDir folder;
  const std::string secret = (folder.path() / "secret").string();
  std::ofstream(secret) << "a secret of the test\n";
  std::vector<std::unique_ptr<TcpWorker>> workers;
  std::vector<std::string> addresses;
  for (Host host : options.workers) {
    hosts.On(host, [&] {
      // What is beside the server needs no wire to reach it.
      workers.push_back(std::make_unique<TcpWorker>(
          secret, host == Host::kFirst ? "127.0.0.1" : TwoHosts::Address(host)));
    });
    addresses.push_back(workers.back()->address());
  }
  std::vector<std::string> flags = {"--model",
                                    DemoModel().string(),
                                    "--log-level",
                                    "warning",
                                    "--secret-file",
                                    secret,
                                    "--workers",
                                    absl::StrJoin(addresses, ","),
                                    "--collective-interface",
                                    TwoHosts::kInterface,
                                    "--step-timeout",
                                    std::to_string(kStepTimeout.count() / 1000)};
  flags.insert(flags.end(), options.layout.begin(), options.layout.end());
  Server server(flags);
  Api api(server.target());
  MixedStreams streams(api, options.streams);
  Cutter cutter(options, hosts, api);
  const std::vector<Timed> answers = streams.AskDuring([&] { cutter.Run(); });
  streams.CheckNothingLost();
  const v1::ServerStatus status = api.Status();
  CHECK(status.groups(status.groups_size() - 1).restarts() > 0);
  if (options.spared) CHECK(status.groups(0).restarts() == 0);
  const Longest longest = LongestOf(answers, cutter.cuts(), options.spared);
  std::printf(
      "%d cuts, %zu streams, step timeout %.0f ms: the longest pause %.0f ms, %.0f ms for "
      "each cut without the time for which the wire was held cut\n",
      options.cuts, answers.size(), Milliseconds(kStepTimeout), Milliseconds(longest.whole),
      Milliseconds(longest.of_a_cut));
  CHECK(longest.of_a_cut < kStepTimeout + kRecovery);
  CHECK(server.Stop() == 0);
}

}  // namespace tessera::tests
