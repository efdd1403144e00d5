// The CPUs that threads run on.
#ifndef TESSERA_WORKER_TENSOR_CPUS_H_
#define TESSERA_WORKER_TENSOR_CPUS_H_

#include <sched.h>

#include <chrono>
#include <cstdint>
#include <vector>

namespace tessera::worker {

// Those that this process may run on, ascending.
std::vector<int> AllowedCpus();
// Their number; at least 1.
int AvailableCpus();

// Keeps the calling thread on one CPU; left where it is when the system refuses.
void PinThisThread(int cpu);

// Keeps its thread on one CPU, unless somebody else computes there: a thread that shares its core
// waits a time slice (3 ms and more) wherever it is preempted, and every rank of the group with it;
// the system finds it a better place. It then comes back for a while, and for longer and longer
// stays away where that goes on. Used by the one thread that made it.
class CpuPin {
 public:
  // Nothing is pinned at -1. `leaves`: it may run on all that the thread was allowed, if need be.
  CpuPin(int cpu, bool leaves);

  // To be called often, some 10,000 times a second or more: then others are seen in about 25 ms.
  void Check() {
    if (leaves_ && ++calls_ % kCallsPerLook == 0) Look();
  }
  bool away() const { return away_; }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr uint32_t kCallsPerLook = 16;

  void Look();
  void GoBack(Clock::time_point now);

  const int cpu_;
  const bool leaves_;
  cpu_set_t allowed_;
  uint32_t calls_ = 0;
  bool away_ = false;
  Clock::time_point look_next_;
  Clock::time_point window_;   // when `preempted_` was taken
  int64_t preempted_ = 0;      // so often, the thread's whole life
  Clock::time_point back_at_;  // while away
  Clock::duration away_for_;   // the next time
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_CPUS_H_
