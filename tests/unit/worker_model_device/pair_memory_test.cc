// Pairs of ranks whose bytes lie where the host cannot read them.
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "tests/unit/worker_model_device/far_memory.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/pair_test.h"

namespace tessera::tests {
namespace {

TEST_CASE("pairs are tested by way of their own memory") {
  constexpr int kRanks = 3;
  auto group = worker::MakeLocalGroup(kRanks, absl::Seconds(20));
  const worker::PairTestOptions options{.round_trips = 3, .large_bytes = 5000};
  std::vector<absl::StatusOr<std::vector<worker::PairTiming>>> timings(kRanks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < kRanks; ++rank) {
    threads.emplace_back([&, rank] {
      FarMemory memory;
      timings[rank] = worker::TestPairs(*group[rank], options, memory);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& each : timings) {
    INFO(each.status().ToString());
    REQUIRE(each.ok());
    REQUIRE(each->size() == 3);
    for (size_t p = 0; p < each->size(); ++p) {
      CHECK((*each)[p].a == (p < 2 ? 0 : 1));
      CHECK((*each)[p].latency_us > 0);
      CHECK((*each)[p].latency_us == (*timings[0])[p].latency_us);
    }
  }
}

}  // namespace
}  // namespace tessera::tests
