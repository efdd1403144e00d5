#include "worker/backend/cuda/device_memory.h"

#include <cuda_runtime.h>

#include "absl/strings/str_cat.h"

namespace tessera::worker::cuda {
namespace {

absl::Status DeviceError(cudaError_t error, absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("cuda: ", what, ": ", cudaGetErrorString(error), " (",
                                             cudaGetErrorName(error), ")"));
}

void FreeDevice(void* data) { cudaFree(data); }
void FreePinned(void* data) { cudaFreeHost(data); }

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceMemory>> DeviceMemory::Create(int device) {
  cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) return DeviceError(error, absl::StrCat("device ", device));
  cudaStream_t stream = nullptr;
  error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) return DeviceError(error, "a stream");
  return std::unique_ptr<DeviceMemory>(new DeviceMemory(device, stream));
}

DeviceMemory::~DeviceMemory() {
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

absl::StatusOr<Buffer> DeviceMemory::Allocate(int64_t bytes, absl::string_view what) {
  if (bytes < 0) {
    return absl::InternalError(absl::StrCat("worker: ", bytes, " bytes asked for ", what));
  }
  if (bytes == 0) return Buffer();
  // The device is the thread's own setting.
  cudaError_t error = cudaSetDevice(device_);
  void* data = nullptr;
  if (error == cudaSuccess) error = cudaMalloc(&data, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // this error is told here, and not by the next call
    return absl::ResourceExhaustedError(absl::StrCat("worker: no device memory for ", what, ": ",
                                                     bytes,
                                                     " bytes; ask for less, or for more "
                                                     "ranks"));
  }
  if (error != cudaSuccess) return DeviceError(error, what);
  error = cudaMemsetAsync(data, 0, static_cast<size_t>(bytes), stream_);
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream_);
  if (error != cudaSuccess) {
    cudaFree(data);
    return DeviceError(error, what);
  }
  return Buffer::Adopt(static_cast<std::byte*>(data), bytes, &FreeDevice);
}

absl::StatusOr<Buffer> DeviceMemory::AllocatePinned(int64_t bytes, absl::string_view what) {
  cudaError_t error = cudaSetDevice(device_);
  void* data = nullptr;
  if (error == cudaSuccess) error = cudaMallocHost(&data, static_cast<size_t>(bytes));
  if (error != cudaSuccess) return DeviceError(error, what);
  return Buffer::Adopt(static_cast<std::byte*>(data), bytes, &FreePinned);
}

void DeviceMemory::CopyIn(const void* from, int64_t bytes, void* to) {
  if (bytes == 0) return;
  // From pageable memory: the driver has its own copy when this returns.
  Check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_),
        "a copy to the device");
}

void DeviceMemory::CopyOut(const void* from, int64_t bytes, void* to) {
  if (bytes == 0) return;
  Check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_),
        "a copy from the device");
}

void DeviceMemory::Copy(const void* from, int64_t bytes, void* to) {
  if (bytes == 0) return;
  Check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_),
        "a copy on the device");
}

void DeviceMemory::Zero(void* to, int64_t bytes) {
  if (bytes == 0) return;
  Check(cudaMemsetAsync(to, 0, static_cast<size_t>(bytes), stream_), "zeros on the device");
}

absl::Status DeviceMemory::Finish() {
  Check(cudaStreamSynchronize(stream_), "work on the device");
  Check(cudaGetLastError(), "work on the device");
  return failed_;
}

void DeviceMemory::Check(int error, const char* what) {
  if (error != cudaSuccess) Fail(DeviceError(static_cast<cudaError_t>(error), what));
}

void DeviceMemory::Fail(const absl::Status& status) {
  if (failed_.ok()) failed_ = status;
}

}  // namespace tessera::worker::cuda
