#include "worker/tensor/thread_pool.h"
#include "worker/tensor/cpus.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

namespace tessera::worker {
namespace {

TEST_CASE("every task of a pool runs once, in round after round") {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (int round = 0; round < 300; ++round) {
      const int count = round % 40;
      std::vector<int> done(count, 0);
      pool.ParallelFor(count, [&](int64_t task) { ++done[task]; });
      CHECK(done == std::vector<int>(count, 1));
    }
  }
}

TEST_CASE("a pool wakes up after its threads have gone to sleep") {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    // Two tasks that wait for each other need two threads.
    std::atomic<int> arrived{0};
    pool.ParallelFor(2, [&](int64_t) {
      ++arrived;
      while (arrived.load() < 2) std::this_thread::yield();
    });
    CHECK(arrived == 2);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // long past spinning
  }
}

TEST_CASE("a pool ends without having worked") { ThreadPool pool(4); }

TEST_CASE("this process may run on at least one CPU") { CHECK(AvailableCpus() >= 1); }

}  // namespace
}  // namespace tessera::worker
