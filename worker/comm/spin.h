// Waiting for a moment without sleeping.
#ifndef TESSERA_WORKER_COMM_SPIN_H_
#define TESSERA_WORKER_COMM_SPIN_H_

#include <sched.h>

namespace tessera::worker {

// A partner that runs on another core answers within microseconds, a sleep costs tens of them; but
// where ranks share cores, turning in a loop takes the core from the partner. So: a short loop,
// only where every rank can have a core of its own, then a few yields. Immutable, thread-safe.
class Spin {
 public:
  // cpus: those that any of the ranks may run on.
  Spin(const cpu_set_t& cpus, int ranks) : loops_(CPU_COUNT(&cpus) >= ranks ? kLoops : 0) {}

  // What this thread may run on; empty where the system does not tell.
  static cpu_set_t OwnCpus() {
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) CPU_ZERO(&cpus);
    return cpus;
  }

  // Every rank can have a core of its own.
  bool dedicated() const { return loops_ > 0; }

  // True as soon as `happened()` is; false when it is time to sleep.
  template <typename Predicate>
  bool Until(Predicate happened) const {
    for (int i = 0; i < loops_; ++i) {
      if (happened()) return true;
      Relax();
    }
    for (int i = 0; i < kYields; ++i) {
      if (happened()) return true;
      sched_yield();
    }
    return happened();
  }

 private:
  static constexpr int kLoops = 500;  // 10 to 30 microseconds
  static constexpr int kYields = 2;

  static void Relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  int loops_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_SPIN_H_
