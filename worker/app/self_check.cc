#include "worker/app/self_check.h"

#include <string>

#include "proto/rpc/version.h"

namespace tessera::worker {

nlohmann::json SelfCheckJson(const RunnerRankOptions& options) {
  internal::v1::Description description = DescribeWorker(options);
  nlohmann::json kernels = nlohmann::json::array();
  for (const internal::v1::KernelSet& set : description.kernels()) {
    kernels.push_back({{"name", set.name()}, {"numerics", set.numerics()}});
  }
  nlohmann::json comms = nlohmann::json::array();
  for (const std::string& comm : description.comms()) comms.push_back(comm);
  return {{"version", std::string(rpc::Version())},
          {"host", description.host()},
          {"device", description.device()},
          {"threads", description.threads()},
          {"memory_bytes", description.memory_bytes()},
          {"kernels", kernels},
          {"comms", comms}};
}

}  // namespace tessera::worker
