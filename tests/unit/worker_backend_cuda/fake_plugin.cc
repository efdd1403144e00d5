// A CUDA plugin without CUDA: what a machine is like is chosen when it is compiled.
#include <cstdio>

#include "worker/backend/cuda/plugin.h"

namespace {

int CountDevices(int* driver_version, int* runtime_version, char* error, size_t error_bytes) {
  *driver_version = 12040;
  *runtime_version = 13000;
#ifdef FAKE_no_driver
  std::snprintf(error, error_bytes, "there is no NVIDIA driver");
  return -1;
#elif defined(FAKE_two_devices)
  (void)error, (void)error_bytes;
  return 2;
#else
  (void)error, (void)error_bytes;
  return 1;
#endif
}

int Describe(int device, TesseraCudaDevice* description, char*, size_t) {
  *description = {};
  const bool old = device == 0;  // the first of two is old too
  std::snprintf(description->name, sizeof(description->name), "%s",
                old ? "Tesla T4" : "NVIDIA H100");
  description->major = old ? 7 : 9;
  description->minor = old ? 5 : 0;
  description->free_bytes = 1000;
  return 0;
}

tessera::worker::Backend* NewBackend(int, int, char* error, size_t error_bytes) {
  std::snprintf(error, error_bytes, "the device is busy");
  return nullptr;
}

#ifdef FAKE_other_build
constexpr const char* kBuild = "another";
#else
constexpr const char* kBuild = FAKE_BUILD;
#endif

const TesseraCudaPlugin kPlugin = {TESSERA_CUDA_PLUGIN_VERSION,
                                   sizeof(TesseraCudaPlugin),
                                   kBuild,
                                   8,
                                   0,
                                   CountDevices,
                                   Describe,
                                   NewBackend};

}  // namespace

extern "C" const TesseraCudaPlugin* tessera_cuda_plugin(void) { return &kPlugin; }
