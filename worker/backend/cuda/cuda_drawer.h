// Drawing tokens on the device that holds the logits.
#ifndef TESSERA_WORKER_BACKEND_CUDA_CUDA_DRAWER_H_
#define TESSERA_WORKER_BACKEND_CUDA_CUDA_DRAWER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard_loader/plan/device_scratch.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/draw.h"
#include "worker/backend/cuda/scratch.h"
#include "worker/backend/drawer.h"
#include "worker/tensor/buffer.h"

struct CUevent_st;

namespace tessera::worker::cuda {

class CudaDrawer final : public Drawer {
 public:
  // Both borrowed; `moves` goes up when scratch memory moves.
  CudaDrawer(DeviceMemory* memory, int64_t* moves)
      : memory_(memory), lists_(*memory, "ids of draws", moves), rows_(*memory, "draws", moves) {}

  ~CudaDrawer() override;

  // Rows that do not fit together are drawn one part after the other; one row must fit.
  absl::Status Reserve(const shard_loader::DeviceScratch& scratch);
  // Ids [count], the device's, that are a DrawnId become what the last Start drew.
  absl::Status Resolve(int64_t count, int64_t* ids);

  absl::Status Start(const DrawArgs& args, absl::Span<const DrawRow> rows) override;
  absl::StatusOr<std::vector<DrawnRow>> Collect() override;

 private:
  static constexpr int kMostUnderWay = 2;
  // Where the parts of a batch lie in rows_, in bytes.
  struct Places;
  // What comes of one Start: in memory of the host that a device writes to by itself.
  struct Results {
    Buffer pinned;
    CUevent_st* event = nullptr;
    int64_t rows = 0;
    bool reserved = false;
  };

  absl::Status Prepare(int64_t rows, Results* results);
  absl::Status StartBatch(const DrawArgs& args, absl::Span<const DrawRow> rows,
                          DeviceDrawn* results);

  DeviceMemory* const memory_;
  Scratch lists_;
  Scratch rows_;
  int64_t list_bytes_ = 0;                   // reserved; 0: as many as are asked for
  const DeviceDrawn* last_drawn_ = nullptr;  // of the last batch
  Results results_[kMostUnderWay];           // in turn
  int64_t started_ = 0;
  int64_t collected_ = 0;
};

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_CUDA_DRAWER_H_
