// Where a backend computes: this host's memory, or a device's.
#ifndef TESSERA_WORKER_TENSOR_MEMORY_H_
#define TESSERA_WORKER_TENSOR_MEMORY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/tensor/buffer.h"

namespace tessera::worker {

// Operations that are given pointers into this memory run in the order in which they are asked for,
// copies among them, but may still be under way when they return. Thread-compatible, except for
// Allocate, which is thread-safe. Buffers outlive neither the memory nor what runs on them.
class Memory {
 public:
  virtual ~Memory() = default;

  // Whether this host reads and writes it as any other, and nothing is ever under way.
  virtual bool on_host() const = 0;
  // Zeroed. RESOURCE_EXHAUSTED naming `what` where there is not as much.
  virtual absl::StatusOr<Buffer> Allocate(int64_t bytes, absl::string_view what) = 0;
  // From this host's memory; `from` may be changed on return.
  virtual void CopyIn(const void* from, int64_t bytes, void* to) = 0;
  // To this host's memory; `to` holds it after Finish.
  virtual void CopyOut(const void* from, int64_t bytes, void* to) = 0;
  // Within this memory; the two do not overlap.
  virtual void Copy(const void* from, int64_t bytes, void* to) = 0;
  virtual void Zero(void* to, int64_t bytes) = 0;
  // The queue that all of this goes through, a cudaStream_t; null on the host.
  virtual void* stream() = 0;
  // Waits for everything asked for so far; the first error of it.
  virtual absl::Status Finish() = 0;
};

// Lives as long as the process; thread-safe.
Memory& HostMemory();

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_TENSOR_MEMORY_H_
