// A pipe of bytes in memory that two threads, or two processes, share: one writes, one reads.
#ifndef TESSERA_WORKER_COMM_RING_H_
#define TESSERA_WORKER_COMM_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tessera::worker {

// The shared words of a ring; all zero is an empty ring. Each stands in its own cache line.
struct RingControl {
  alignas(64) std::atomic<uint64_t> written;
  alignas(64) std::atomic<uint64_t> read;
  std::atomic<uint32_t> writer_waits;  // the writer found it full
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// One end's view of a ring. The memory is borrowed; what the other end writes into it is never
// trusted for bounds: a count that cannot be is INTERNAL.
class Ring {
 public:
  Ring() = default;
  // data: [capacity], a power of two.
  Ring(RingControl* control, std::byte* data, size_t capacity)
      : control_(control), data_(data), capacity_(capacity) {}

  // Of the writing end: takes a prefix of `bytes`, returns its length. Where it is less than all,
  // the reader is asked to tell when there is room.
  absl::StatusOr<size_t> Write(absl::Span<const std::byte> bytes);
  // Of the reading end: fills a prefix of `bytes`, returns its length. `writer_waits`: the writer
  // is to be told that there is room; that is when half of the ring is free.
  absl::StatusOr<size_t> Read(absl::Span<std::byte> bytes, bool& writer_waits);

 private:
  RingControl* control_ = nullptr;
  std::byte* data_ = nullptr;
  size_t capacity_ = 0;
  uint64_t position_ = 0;  // of this end; the shared word is only its copy for the other
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_RING_H_
