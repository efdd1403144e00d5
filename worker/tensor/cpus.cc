#include "worker/tensor/cpus.h"

#include <sys/resource.h>

#include <algorithm>
#include <thread>

namespace tessera::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kLookEvery{1};
// Now and then a thread of the system runs on every CPU.
constexpr milliseconds kWindow{50};
constexpr int64_t kMostPreempted = 3;  // within the window
constexpr seconds kFirstAway{1}, kLongestAway{60};

// How often the calling thread lost its core without having gone to sleep.
int64_t TimesPreempted() {
  rusage usage{};
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

}  // namespace

std::vector<int> AllowedCpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

int AvailableCpus() {
  const int allowed = static_cast<int>(AllowedCpus().size());
  return allowed > 0 ? allowed : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void PinThisThread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

CpuPin::CpuPin(int cpu, bool leaves)
    : cpu_(cpu), leaves_(leaves && cpu >= 0), away_for_(kFirstAway) {
  if (cpu_ < 0) return;
  if (sched_getaffinity(0, sizeof(allowed_), &allowed_) != 0) CPU_ZERO(&allowed_);
  GoBack(Clock::now());
}

void CpuPin::GoBack(Clock::time_point now) {
  PinThisThread(cpu_);
  away_ = false;
  window_ = now;
  preempted_ = TimesPreempted();
}

void CpuPin::Look() {
  const Clock::time_point now = Clock::now();
  if (now < look_next_) return;
  look_next_ = now + kLookEvery;
  if (away_) {
    if (now >= back_at_) GoBack(now);
    return;
  }
  const int64_t preempted = TimesPreempted();
  if (preempted - preempted_ >= kMostPreempted) {
    sched_setaffinity(0, sizeof(allowed_), &allowed_);
    away_ = true;
    back_at_ = now + away_for_;
    away_for_ = std::min<Clock::duration>(2 * away_for_, kLongestAway);
  } else if (now - window_ >= kWindow) {
    // As long undisturbed as it was away before: what was there has gone.
    if (now - back_at_ > away_for_) away_for_ = kFirstAway;
    window_ = now;
    preempted_ = preempted;
  }
}

}  // namespace tessera::worker
