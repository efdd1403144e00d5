// libtessera_cuda.so: the entry.
#include "worker/backend/cuda/plugin.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include "worker/backend/cuda/cuda_backend.h"

namespace tessera::worker::cuda {
namespace {

// The least of the architectures that are built (CMAKE_CUDA_ARCHITECTURES).
constexpr int kMinMajor = 8;
constexpr int kMinMinor = 0;

int Tell(char* error, size_t error_bytes, const std::string& text) {
  std::snprintf(error, error_bytes, "%s", text.c_str());
  return -1;
}

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// What a failed count of devices means to the one who reads it.
std::string WhyNoDevices(cudaError_t error, int driver, int runtime) {
  void* library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    return "there is no NVIDIA driver (libcuda.so.1 is missing): install the driver, or in a "
           "container start it with the GPUs (docker run --gpus all)";
  }
  dlclose(library);
  if (error == cudaErrorInsufficientDriver && driver > 0) {
    return "the NVIDIA driver is for CUDA " + VersionText(driver) + ", this build needs " +
           VersionText(runtime) + ": install a newer driver";
  }
  if (error == cudaErrorNoDevice) {
    return "the NVIDIA driver finds no device: see nvidia-smi and CUDA_VISIBLE_DEVICES";
  }
  return std::string("the NVIDIA driver cannot be used: ") + cudaGetErrorString(error) +
         "; see nvidia-smi";
}

int CountDevices(int* driver_version, int* runtime_version, char* error, size_t error_bytes) {
  *driver_version = 0;
  *runtime_version = 0;
  cudaRuntimeGetVersion(runtime_version);
  cudaDriverGetVersion(driver_version);
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result == cudaSuccess && count > 0) return count;
  const cudaError_t why = result == cudaSuccess ? cudaErrorNoDevice : result;
  return Tell(error, error_bytes, WhyNoDevices(why, *driver_version, *runtime_version));
}

int Describe(int device, TesseraCudaDevice* description, char* error, size_t error_bytes) {
  cudaDeviceProp properties;
  cudaError_t result = cudaGetDeviceProperties(&properties, device);
  if (result == cudaSuccess) result = cudaSetDevice(device);
  size_t free = 0, total = 0;
  if (result == cudaSuccess) result = cudaMemGetInfo(&free, &total);
  if (result != cudaSuccess) {
    return Tell(error, error_bytes,
                "device " + std::to_string(device) + ": " + cudaGetErrorString(result));
  }
  std::snprintf(description->name, sizeof(description->name), "%s", properties.name);
  description->major = properties.major;
  description->minor = properties.minor;
  description->processors = properties.multiProcessorCount;
  int kilohertz = 0;
  cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, device);
  description->clock_mhz = kilohertz / 1000;
  description->total_bytes = total;
  description->free_bytes = free;
  cudaDeviceGetPCIBusId(description->bus, sizeof(description->bus), device);
  return 0;
}

Backend* NewBackend(int device, int exact, char* error, size_t error_bytes) {
  try {
    auto backend = MakeCudaBackend({device, exact != 0 ? Order::kFma16 : Order::kWide});
    if (backend.ok()) return backend->release();
    Tell(error, error_bytes, std::string(backend.status().message()));
  } catch (const std::exception& exception) {
    Tell(error, error_bytes, exception.what());
  }
  return nullptr;
}

const TesseraCudaPlugin kPlugin = {TESSERA_CUDA_PLUGIN_VERSION,
                                   sizeof(TesseraCudaPlugin),
                                   TESSERA_CUDA_BUILD,
                                   kMinMajor,
                                   kMinMinor,
                                   CountDevices,
                                   Describe,
                                   NewBackend};

}  // namespace
}  // namespace tessera::worker::cuda

extern "C" __attribute__((visibility("default"))) const TesseraCudaPlugin* tessera_cuda_plugin(
    void) {
  return &tessera::worker::cuda::kPlugin;
}
