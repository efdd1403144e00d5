// Device memory that operations work in beside their arguments.
#ifndef TESSERA_WORKER_BACKEND_CUDA_SCRATCH_H_
#define TESSERA_WORKER_BACKEND_CUDA_SCRATCH_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/tensor/memory.h"

namespace tessera::worker::cuda {

// Room that is used anew by every operation. It grows, and counts `moves` when it does, until its
// size is reserved.
class Scratch {
 public:
  // `memory`, `what` and `moves` are borrowed.
  Scratch(Memory& memory, const char* what, int64_t* moves)
      : memory_(memory), what_(what), moves_(moves) {}

  // From now on it has `bytes`, and no more.
  absl::Status Reserve(int64_t bytes);
  // INTERNAL where more is asked for than was reserved.
  absl::StatusOr<std::byte*> Get(int64_t bytes);

 private:
  absl::Status Resize(int64_t bytes);

  Memory& memory_;
  const char* const what_;
  int64_t* const moves_;
  bool reserved_ = false;
  Buffer buffer_;
};

// Small arrays of the host that hardly ever change (which KV head a head reads), kept on the device
// by what they hold.
class Constants {
 public:
  explicit Constants(Memory& memory) : memory_(memory) {}

  // Room for all that will come, each a multiple of kAlignment.
  absl::Status Reserve(int64_t bytes);
  absl::StatusOr<const void*> Get(const void* data, int64_t bytes);

 private:
  static constexpr int64_t kAlignment = 256;
  struct Entry {
    std::vector<std::byte> host;
    Buffer own;  // empty where it lies in reserved_
    const std::byte* device = nullptr;
  };

  Memory& memory_;
  Buffer reserved_;
  int64_t used_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_SCRATCH_H_
