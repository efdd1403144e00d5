// What a rank whose backend computes on a device does on the host: it draws from logits that are
// brought there.
#ifndef TESSERA_WORKER_RUNNER_HOST_SIDE_H_
#define TESSERA_WORKER_RUNNER_HOST_SIDE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/plan/workspace.h"
#include "worker/backend/backend.h"
#include "worker/tensor/buffer.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

// Thread-compatible.
class HostSide {
 public:
  // `memory`: the device's, borrowed.
  static absl::StatusOr<std::unique_ptr<HostSide>> Create(
      Memory* memory, const shard_loader::WorkspaceLayout& layout);

  // Of this host, one thread: the sampler's.
  Backend& backend() { return *backend_; }
  // [layout.sampling.bytes]
  std::byte* sampling() { return sampling_.data(); }
  // Waits for the device, and brings `count` of its floats here, valid until the next call.
  absl::StatusOr<const float*> Bring(const float* device, int64_t count);

 private:
  HostSide() = default;

  Memory* memory_ = nullptr;
  std::unique_ptr<Backend> backend_;
  Buffer sampling_;
  std::vector<float> floats_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_RUNNER_HOST_SIDE_H_
