#include "worker/tensor/cpus.h"

#include <sched.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "worker/tensor/thread_pool.h"

namespace tessera::worker {
namespace {

TEST_CASE("the threads of a pool stay on its cpus, and the caller on the first") {
  const std::vector<int> cpus = AllowedCpus();
  REQUIRE(!cpus.empty());
  CHECK(AvailableCpus() == static_cast<int>(cpus.size()));
  std::thread([&] {                     // so that the test's own thread stays free
    ThreadPool pool(3, {cpus.back()});  // which share it, and so do not leave it
    CHECK(AllowedCpus() == std::vector<int>{cpus.back()});
    std::atomic<int> elsewhere = 0;
    for (int i = 0; i < 50; ++i) {
      pool.ParallelFor(6, [&](int64_t) { elsewhere += sched_getcpu() != cpus.back(); });
    }
    CHECK(elsewhere == 0);
  })
      .join();
  CHECK(AllowedCpus() == cpus);
}

TEST_CASE("a pool whose threads share one cpu comes to an end every time") {
  std::thread([] {
    ThreadPool pool(4, {AllowedCpus().front()});
    std::atomic<int64_t> sum = 0;
    for (int i = 0; i < 200; ++i) pool.ParallelFor(8, [&](int64_t task) { sum += task; });
    CHECK(sum == 200 * 28);
  }).join();
}

TEST_CASE("a pinned thread leaves a cpu where somebody else computes, and comes back") {
  const std::vector<int> cpus = AllowedCpus();
  if (cpus.size() < 2) return;
  std::atomic<bool> stop = false;
  std::thread other([&] {
    PinThisThread(cpus.back());
    while (!stop) {
    }
  });
  std::thread([&] {
    CpuPin pin(cpus.back(), /*leaves=*/true);
    CHECK(AllowedCpus() == std::vector<int>{cpus.back()});
    while (!pin.away()) pin.Check();
    CHECK(AllowedCpus() == cpus);
    stop = true;
    other.join();
    while (pin.away()) pin.Check();
    CHECK(AllowedCpus() == std::vector<int>{cpus.back()});
  }).join();
}

}  // namespace
}  // namespace tessera::worker
