// The C interface between the worker and libtessera_cuda.so, the only file that holds device code
// and is linked with CUDA. Plain C types; no exception passes from one side to the other. A backend
// is ours (worker/backend/backend.h): both sides must come from one build, which `build` tells.
#ifndef TESSERA_WORKER_BACKEND_CUDA_PLUGIN_H_
#define TESSERA_WORKER_BACKEND_CUDA_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

namespace tessera::worker {
class Backend;
}

// Goes up with every change of the table or of what its functions mean.
#define TESSERA_CUDA_PLUGIN_VERSION 1
// The only symbol of the plugin: const TesseraCudaPlugin* tessera_cuda_plugin(void).
#define TESSERA_CUDA_PLUGIN_ENTRY "tessera_cuda_plugin"

extern "C" {

typedef struct TesseraCudaDevice {
  char name[256];
  int32_t major;  // compute capability
  int32_t minor;
  int32_t processors;  // streaming multiprocessors
  int32_t clock_mhz;   // of the processors, at most; 0: not known
  uint64_t total_bytes;
  uint64_t free_bytes;
  char bus[32];  // PCI address
} TesseraCudaDevice;

typedef struct TesseraCudaPlugin {
  uint32_t version;   // TESSERA_CUDA_PLUGIN_VERSION
  uint32_t bytes;     // of this table
  const char* build;  // TESSERA_CUDA_BUILD of the sources it was made from
  int32_t min_major;  // the least compute capability that it has code for
  int32_t min_minor;

  // The devices that this process sees, or -1 with a sentence that says what is missing.
  int (*count_devices)(int* driver_version, int* runtime_version, char* error, size_t error_bytes);
  // 0, or -1 with a sentence.
  int (*describe)(int device, TesseraCudaDevice* description, char* error, size_t error_bytes);
  // A backend that the caller owns, or null with a sentence. `exact`: the operations in the order
  // of the CPU's kernels, for every dtype.
  tessera::worker::Backend* (*new_backend)(int device, int exact, char* error, size_t error_bytes);
} TesseraCudaPlugin;

typedef const TesseraCudaPlugin* (*TesseraCudaPluginEntry)(void);

}  // extern "C"

#endif  // TESSERA_WORKER_BACKEND_CUDA_PLUGIN_H_
