// The CUDA plugin, found and asked at run time; without it, its library or a device, a sentence
// that says what is missing.
#ifndef TESSERA_WORKER_BACKEND_CUDA_LIBRARY_H_
#define TESSERA_WORKER_BACKEND_CUDA_LIBRARY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/backend/backend.h"

namespace tessera::worker {

struct CudaDevice {
  int index = 0;
  std::string name;  // "NVIDIA H100 80GB HBM3"
  std::string bus;   // PCI address
  int major = 0;     // compute capability
  int minor = 0;
  int processors = 0;
  int clock_mhz = 0;
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
};

struct CudaFacts {
  std::string plugin;   // the file in use
  std::string driver;   // the CUDA version that the driver is for: "13.0"
  std::string runtime;  // that of the plugin
  std::vector<CudaDevice> devices;
};

// What there is. FAILED_PRECONDITION with one sentence where CUDA cannot be used: the plugin is not
// there or of another build, a library or the driver is missing or too old, no device is seen, or
// none has the compute capability that the plugin needs. `plugin_dir`: where libtessera_cuda.so
// lies; empty: beside this program, or in ../lib/tessera or ../bin from there.
absl::StatusOr<CudaFacts> FindCuda(const std::string& plugin_dir);

// The kernel sets of a device, best first: "cuda" (tensor cores for weights of 16 bits) and
// "cuda-exact" (every operation in the order of the CPU's kernels).
// Goes up whenever the order of an operation changes in any of them.
inline constexpr int kCudaNumericsVersion = 1;
bool IsCudaKernelSet(absl::string_view kernel_set);

// A backend on one device. Errors are those of FindCuda; INVALID_ARGUMENT for a device or a set
// that does not exist.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const std::string& plugin_dir,
                                                         absl::string_view kernel_set, int device);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_CUDA_LIBRARY_H_
