#include "worker/app/self_check.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/rpc/version.h"
#include "worker/backend/cuda_library.h"
#include "worker/backend/kernel_sets.h"

namespace tessera::worker {

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
