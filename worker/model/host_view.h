// Floats of a backend's memory, as the host reads them.
#ifndef TESSERA_WORKER_MODEL_HOST_VIEW_H_
#define TESSERA_WORKER_MODEL_HOST_VIEW_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/status_macros.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

class HostView {
 public:
  explicit HostView(Memory& memory) : memory_(memory) {}

  // `count` floats, after everything asked for so far: where they lie, or a copy that holds until
  // the next call. Errors are those of the memory.
  absl::StatusOr<const float*> Bring(const float* floats, int64_t count) {
    if (memory_.on_host()) return floats;
    copy_.resize(static_cast<size_t>(count));
    memory_.CopyOut(floats, count * static_cast<int64_t>(sizeof(float)), copy_.data());
    RETURN_IF_ERROR(memory_.Finish());
    return copy_.data();
  }

 private:
  Memory& memory_;
  std::vector<float> copy_;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_HOST_VIEW_H_
