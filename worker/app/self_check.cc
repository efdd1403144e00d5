#include "worker/app/self_check.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/rpc/version.h"
#include "worker/backend/cuda_library.h"
#include "worker/backend/kernel_sets.h"
#include "worker/backend/nvml.h"
#include "worker/comm/nccl_library.h"

namespace tessera::worker {
namespace {

// Clocks and links, of the devices in `cuda`.
void AddNvml(const std::vector<std::string>& buses, nlohmann::json* cuda) {
  const absl::StatusOr<NvmlFacts> facts = ReadNvml(kNvmlLibrary, buses);
  if (!facts.ok()) {
    (*cuda)["nvml_problem"] = std::string(facts.status().message());
    return;
  }
  (*cuda)["driver_package"] = facts->driver;
  for (size_t i = 0; i < facts->devices.size(); ++i) {
    const NvmlDevice& device = facts->devices[i];
    nlohmann::json& entry = (*cuda)["devices"][i];
    entry["clock_now_mhz"] = device.clock_mhz;
    entry["max_clock_mhz"] = device.max_clock_mhz;
    entry["memory_clock_mhz"] = device.memory_clock_mhz;
    entry["slowed_by"] = device.slowed_by;
    entry["nvlinks"] = device.nvlinks;
    entry["pcie"] = absl::StrCat("gen ", device.pcie_generation, " x", device.pcie_width);
  }
  for (const NvmlLink& link : facts->links) {
    (*cuda)["links"].push_back(
        {{"devices", {(*cuda)["devices"][link.a]["index"], (*cuda)["devices"][link.b]["index"]}},
         {"path", link.path},
         {"peer_access", link.peer_access}});
  }
}

void AddNccl(const std::string& plugin_dir, nlohmann::json* cuda) {
  const absl::StatusOr<std::unique_ptr<NcclApi>> nccl = OpenNccl(plugin_dir, nullptr);
  if (nccl.ok()) {
    (*cuda)["nccl"] = (*nccl)->Version();
  } else {
    (*cuda)["nccl_problem"] = std::string(nccl.status().message());
  }
}

}  // namespace

nlohmann::json SelfCheckJson(const RunnerRankOptions& options) {
  internal::v1::Description description = DescribeWorker(options);
  nlohmann::json kernels = nlohmann::json::array();
  for (const internal::v1::KernelSet& set : description.kernels()) {
    kernels.push_back({{"name", set.name()}, {"numerics", set.numerics()}});
  }
  nlohmann::json absent = nlohmann::json::array();
  for (const KernelSetFacts& set : AllKernelSets()) {
    if (!set.runs_here) absent.push_back({{"name", set.name}, {"needs", set.needs}});
  }
  nlohmann::json comms = nlohmann::json::array();
  for (const std::string& comm : description.comms()) comms.push_back(comm);
  nlohmann::json cuda = {{"problem", description.cuda_problem()}};
  if (const absl::StatusOr<CudaFacts> facts = FindCuda(options.backend_dir); facts.ok()) {
    cuda = {{"driver", facts->driver}, {"runtime", facts->runtime}, {"plugin", facts->plugin}};
    std::vector<std::string> buses;
    for (const CudaDevice& device : facts->devices) {
      buses.push_back(device.bus);
      cuda["devices"].push_back(
          {{"index", device.index},
           {"name", device.name},
           {"bus", device.bus},
           {"compute_capability", absl::StrCat(device.major, ".", device.minor)},
           {"clock_mhz", device.clock_mhz},
           {"free_bytes", device.free_bytes},
           {"total_bytes", device.total_bytes}});
    }
    AddNvml(buses, &cuda);
    AddNccl(options.backend_dir, &cuda);
  }
  return {{"version", std::string(rpc::Version())},
          {"host", description.host()},
          {"device", description.device()},
          {"threads", description.threads()},
          {"memory_bytes", description.memory_bytes()},
          {"kernels", kernels},
          {"absent_kernels", absent},
          {"comms", comms},
          {"cuda", cuda}};
}

std::string KernelSetsText(const RunnerRankOptions& options) {
  RunnerRankOptions all = options;
  all.kernels = "auto";
  const internal::v1::Description description = DescribeWorker(all);
  std::string text = absl::StrFormat("%-14s %-14s %s\n", "kernel set", "numerics", "here");
  bool first = true;
  const std::vector<KernelSetFacts> sets = AllKernelSets();
  for (const internal::v1::KernelSet& set : description.kernels()) {
    std::string here = "runs";
    if (first) here = "runs; auto takes it: the best that this machine runs";
    for (const KernelSetFacts& facts : sets) {
      if (facts.name == set.name() && !facts.advice.empty()) here += "; " + facts.advice;
    }
    absl::StrAppendFormat(&text, "%-14s %-14s %s\n", set.name(), set.numerics(), here);
    first = false;
  }
  for (const KernelSetFacts& set : sets) {
    if (set.runs_here) continue;
    absl::StrAppendFormat(&text, "%-14s %-14s does not run: this CPU lacks %s\n", set.name,
                          set.numerics, set.needs);
  }
  if (!description.cuda_problem().empty()) {
    absl::StrAppendFormat(&text, "%-14s %-14s do not run: %s\n", "cuda, cuda-exact", "",
                          description.cuda_problem());
  }
  absl::StrAppend(&text, "Sets of one numerics give the same answers, bit for bit.\n");
  return text;
}

}  // namespace tessera::worker
