// A device's memory and the stream on which everything of one backend runs.
#ifndef TESSERA_WORKER_BACKEND_CUDA_DEVICE_MEMORY_H_
#define TESSERA_WORKER_BACKEND_CUDA_DEVICE_MEMORY_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/tensor/memory.h"

struct CUstream_st;

namespace tessera::worker::cuda {

// Belongs to one thread at a time.
class DeviceMemory final : public Memory {
 public:
  // UNAVAILABLE with the driver's own words where the device cannot be used.
  static absl::StatusOr<std::unique_ptr<DeviceMemory>> Create(int device);
  ~DeviceMemory() override;

  bool on_host() const override { return false; }
  absl::StatusOr<Buffer> Allocate(int64_t bytes, absl::string_view what) override;
  void CopyIn(const void* from, int64_t bytes, void* to) override;
  void CopyOut(const void* from, int64_t bytes, void* to) override;
  void Copy(const void* from, int64_t bytes, void* to) override;
  void Zero(void* to, int64_t bytes) override;
  absl::Status Finish() override;

  // Memory of the host that the device copies to without the host's help.
  absl::StatusOr<Buffer> AllocatePinned(int64_t bytes, absl::string_view what);

  void* stream() override { return stream_; }
  CUstream_st* cuda_stream() const { return stream_; }
  // Keeps the first error, a cudaError_t of `what`, for Finish.
  void Check(int error, const char* what);
  void Fail(const absl::Status& status);
  // The first error so far, of what has been waited for.
  const absl::Status& error() const { return failed_; }

 private:
  DeviceMemory(int device, CUstream_st* stream) : device_(device), stream_(stream) {}

  const int device_;
  CUstream_st* const stream_;
  absl::Status failed_;
};

}  // namespace tessera::worker::cuda

#endif  // TESSERA_WORKER_BACKEND_CUDA_DEVICE_MEMORY_H_
