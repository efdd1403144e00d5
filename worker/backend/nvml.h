// What NVIDIA's management library, which comes with the driver, tells of devices and of the links
// between them: for `tessera doctor`. It is opened by name; nothing is linked with it.
#ifndef TESSERA_WORKER_BACKEND_NVML_H_
#define TESSERA_WORKER_BACKEND_NVML_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::worker {

// Numbers are 0 where the library does not tell them.
struct NvmlDevice {
  int clock_mhz = 0;  // now, of the processors
  int max_clock_mhz = 0;
  int memory_clock_mhz = 0;  // now
  std::string slowed_by;     // why the clock is held down: "heat, power"; empty: it is not
  int nvlinks = 0;           // that are up
  int pcie_generation = 0;   // now; a device that idles may have gone down
  int pcie_width = 0;        // lanes
};

struct NvmlLink {
  int a = 0;  // indices of what was asked for, a < b
  int b = 0;
  std::string path;  // "NVLink", "a PCIe switch", "the host bridge", "between NUMA nodes"...
  bool peer_access = false;  // each may read and write the other's memory
};

struct NvmlFacts {
  std::string driver;  // "580.65.06"
  std::vector<NvmlDevice> devices;
  std::vector<NvmlLink> links;  // ordered by (a, b)
};

inline constexpr char kNvmlLibrary[] = "libnvidia-ml.so.1";

// Of the devices at these PCI addresses. FAILED_PRECONDITION with one sentence where `library` is
// missing, too old or refuses.
absl::StatusOr<NvmlFacts> ReadNvml(const std::string& library,
                                   const std::vector<std::string>& buses);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_BACKEND_NVML_H_
