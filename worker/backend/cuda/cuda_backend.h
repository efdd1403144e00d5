// The operations of a decoder on a CUDA device: every pointer that they take is the device's,
// except ids of EmbedRows, the row table, and kv_head_of and slopes of attention, which are the
// host's.
#ifndef TESSERA_WORKER_BACKEND_CUDA_CUDA_BACKEND_H_
#define TESSERA_WORKER_BACKEND_CUDA_CUDA_BACKEND_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"
#include "worker/backend/cuda/kernels.h"

namespace tessera::worker::cuda {

struct CudaBackendOptions {
  int device = 0;
  Order order = Order::kWide;
};

// UNAVAILABLE with the driver's own words where the device cannot be used.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options);

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_CUDA_BACKEND_H_
