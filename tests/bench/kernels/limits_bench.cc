// What this machine can do at most, as JSON lines: limits_bench [THREADS]
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/bench/kernels/machine_limits.h"
#include "worker/tensor/cpus.h"
#include "worker/tensor/thread_pool.h"

namespace tessera::tests {
namespace {

void Print(const std::string& limit, int threads, double value, const char* unit) {
  std::printf(
      "{\"bench\": \"limits\", \"cpu\": \"%s\", \"limit\": \"%s\", \"threads\": %d, "
      "\"value\": %.2f, \"unit\": \"%s\"}\n",
      CpuText().c_str(), limit.c_str(), threads, value, unit);
  std::fflush(stdout);
}

void BenchRead(worker::ThreadPool& pool, ColdMemory& memory) {
  const int threads = pool.threads();
  constexpr int64_t kRead = int64_t{32} << 20;
  const double best =
      BestTimes({[&] {
                  const std::byte* data = memory.Next(kRead * threads);
                  pool.ParallelFor(threads, [&](int64_t t) { ReadOnce(data + t * kRead, kRead); });
                }},
                threads, 1.5)[0];
  Print("DRAM read", threads, 1e-9 * static_cast<double>(kRead * threads) / best, "GB/s");
}

void BenchPeak(worker::ThreadPool& pool, Peak peak) {
  if (PeakInstruction(peak).empty()) return;
  double operations = 0;
  const double best = BestTimes({[&] {
                                  pool.ParallelFor(pool.threads(), [&](int64_t t) {
                                    const double done = RunPeak(peak, 50000);
                                    if (t == 0) operations = done * pool.threads();
                                  });
                                }},
                                pool.threads(), 0.7)[0];
  Print(PeakInstruction(peak), pool.threads(), 1e-9 * operations / best, "GOP/s");
}

// From the call that hands out work to the one that returns: nothing is done in between.
void BenchPool(worker::ThreadPool& pool) {
  constexpr int kCalls = 200;
  const double best = BestTimes({[&] {
                                  for (int i = 0; i < kCalls; ++i)
                                    pool.ParallelFor(pool.threads(), [](int64_t) {});
                                }},
                                2, 0.7)[0];
  Print("handing out work", pool.threads(), 1e6 * best / kCalls, "us");
}

int Main(int argc, char** argv) {
  const int all = argc > 1 ? std::atoi(argv[1]) : worker::AvailableCpus();
  ColdMemory memory(int64_t{1} << 30);
  for (int threads = 1; threads <= all; threads *= 2) {
    worker::ThreadPool pool(threads);
    BenchRead(pool, memory);
    for (Peak peak : {Peak::kFma, Peak::kBf16Dot, Peak::kInt8Dot}) BenchPeak(pool, peak);
    if (threads > 1) BenchPool(pool);
  }
  return 0;
}

}  // namespace
}  // namespace tessera::tests

int main(int argc, char** argv) { return tessera::tests::Main(argc, argv); }
