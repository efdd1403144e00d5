// Drawing tokens on the device that holds the logits.
#ifndef TESSERA_WORKER_BACKEND_CUDA_CUDA_DRAWER_H_
#define TESSERA_WORKER_BACKEND_CUDA_CUDA_DRAWER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/draw.h"
#include "worker/backend/cuda/scratch.h"
#include "worker/backend/drawer.h"

namespace tessera::worker::cuda {

class CudaDrawer final : public Drawer {
 public:
  // Both borrowed; `moves` goes up when scratch memory moves.
  CudaDrawer(DeviceMemory* memory, int64_t* moves)
      : memory_(memory), lists_(*memory, "ids of draws", moves), rows_(*memory, "draws", moves) {}

  // Rows that do not fit together are drawn one part after the other; one row must fit.
  absl::Status Reserve(int64_t list_bytes, int64_t row_bytes);

  absl::Status Start(const DrawArgs& args, absl::Span<const DrawRow> rows) override;
  absl::StatusOr<std::vector<DrawnRow>> Collect() override;

 private:
  // Where the parts of a batch lie in rows_, in bytes.
  struct Places;

  absl::Status StartBatch(const DrawArgs& args, absl::Span<const DrawRow> rows);

  DeviceMemory* const memory_;
  Scratch lists_;
  Scratch rows_;
  int64_t list_bytes_ = 0;  // reserved; 0: as many as are asked for
  int64_t row_bytes_ = 0;
  std::vector<std::vector<DeviceDrawn>> drawn_;  // by batch
};

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_CUDA_DRAWER_H_
