#include "worker/app/self_check.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "proto/rpc/version.h"
#include "worker/backend/cuda_library.h"

namespace tessera::worker {

nlohmann::json SelfCheckJson(const RunnerRankOptions& options) {
  internal::v1::Description description = DescribeWorker(options);
  nlohmann::json kernels = nlohmann::json::array();
  for (const internal::v1::KernelSet& set : description.kernels()) {
    kernels.push_back({{"name", set.name()}, {"numerics", set.numerics()}});
  }
  nlohmann::json comms = nlohmann::json::array();
  for (const std::string& comm : description.comms()) comms.push_back(comm);
  nlohmann::json cuda = {{"problem", description.cuda_problem()}};
  if (const absl::StatusOr<CudaFacts> facts = FindCuda(options.backend_dir); facts.ok()) {
    cuda = {{"driver", facts->driver}, {"runtime", facts->runtime}, {"plugin", facts->plugin}};
    for (const CudaDevice& device : facts->devices) {
      cuda["devices"].push_back(
          {{"index", device.index},
           {"name", device.name},
           {"bus", device.bus},
           {"compute_capability", absl::StrCat(device.major, ".", device.minor)},
           {"clock_mhz", device.clock_mhz},
           {"free_bytes", device.free_bytes},
           {"total_bytes", device.total_bytes}});
    }
  }
  return {{"version", std::string(rpc::Version())},
          {"host", description.host()},
          {"device", description.device()},
          {"threads", description.threads()},
          {"memory_bytes", description.memory_bytes()},
          {"kernels", kernels},
          {"comms", comms},
          {"cuda", cuda}};
}

}  // namespace tessera::worker
