// What this machine can do at most: the limits that kernels are measured against.
#ifndef TESSERA_TESTS_BENCH_KERNELS_MACHINE_LIMITS_H_
#define TESSERA_TESTS_BENCH_KERNELS_MACHINE_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "worker/tensor/buffer.h"

namespace tessera::tests {

// Seconds of this thread's own time: what colleagues on the machine take does not count.
double ThreadSeconds();
double WallSeconds();

// Seconds of one call in each of `bodies`, run in turn so that all meet the same weather: the best
// of many within `seconds` altogether. Thread time with one thread, else wall time.
std::vector<double> BestTimes(const std::vector<std::function<void()>>& bodies, int threads,
                              double seconds);

// More memory than any cache holds, touched; the parts come one after the other, again and again.
class ColdMemory {
 public:
  explicit ColdMemory(int64_t bytes);
  // `bytes` that have not been read for as long as may be.
  std::byte* Next(int64_t bytes);
  int64_t size() const { return buffer_.size(); }

 private:
  worker::Buffer buffer_;
  int64_t next_ = 0;
};

enum class Peak { kFma, kBf16Dot, kInt8Dot };

// Empty where this CPU has no such instruction.
std::string PeakInstruction(Peak peak);
// Runs `rounds` of the instruction on one thread; returns its multiplications and additions.
double RunPeak(Peak peak, int64_t rounds);
// Reads `bytes` once, on one thread, several streams side by side.
void ReadOnce(const std::byte* data, int64_t bytes);

// "AMD EPYC 9R14, 2 CPUs".
std::string CpuText();

}  // namespace tessera::tests

#endif  // TESSERA_TESTS_BENCH_KERNELS_MACHINE_LIMITS_H_
