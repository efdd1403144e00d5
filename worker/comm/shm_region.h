// The shared memory of a group: a slot per rank, then the rings.
#ifndef TESSERA_WORKER_COMM_SHM_REGION_H_
#define TESSERA_WORKER_COMM_SHM_REGION_H_

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

namespace tessera::worker {

// What a rank tells the others. All zero: it has not joined.
struct alignas(64) ShmRankSlot {
  std::atomic<uint64_t> joined;  // kShmMagic, after the fields below are written
  uint32_t tp;
  uint32_t pp;
  int32_t pid;
  std::atomic<uint32_t> closed;  // `why` is written
  char why[192];
  cpu_set_t cpus;                            // that the rank may run on
  alignas(64) std::atomic<uint32_t> events;  // a futex
  std::atomic<uint32_t> sleeps;
};

// Changes with every change of the layout, so that builds that differ refuse each other.
inline constexpr uint64_t kShmMagic = 0x5445535345524102;  // "TESSERA", version 2

// A mapping of the region. Every offset follows from the number of ranks that this process was
// told; nothing that lies in the memory is used for bounds.
class ShmRegion {
 public:
  // Gives the file its size if it has none. FAILED_PRECONDITION where it has another.
  static absl::StatusOr<ShmRegion> Map(int fd, int ranks);
  ~ShmRegion();
  ShmRegion(ShmRegion&& other) noexcept;
  ShmRegion& operator=(ShmRegion&&) = delete;

  int ranks() const { return ranks_; }
  ShmRankSlot& slot(int rank) const { return reinterpret_cast<ShmRankSlot*>(memory_)[rank]; }
  std::byte* rings() const { return memory_ + ranks_ * sizeof(ShmRankSlot); }

 private:
  ShmRegion(std::byte* memory, int ranks) : memory_(memory), ranks_(ranks) {}

  std::byte* memory_;
  int ranks_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_SHM_REGION_H_
