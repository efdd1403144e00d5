// Functions and numbers are those of NVML's API reference (docs.nvidia.com/deploy/nvml-api).
#include "worker/backend/nvml.h"

#include <dlfcn.h>

#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {
namespace {

using Result = int;
constexpr Result kSuccess = 0;
using Device = void*;

constexpr unsigned kClockSm = 1, kClockMemory = 2;
constexpr unsigned kP2pRead = 0, kP2pWrite = 1, kP2pNvlink = 2;
constexpr unsigned kMaxNvlinks = 18;

struct Table {
  Result (*init)();
  Result (*shutdown)();
  const char* (*error_string)(Result);
  Result (*driver_version)(char*, unsigned);
  Result (*by_bus)(const char*, Device*);
  Result (*clock)(Device, unsigned, unsigned*);
  Result (*max_clock)(Device, unsigned, unsigned*);
  Result (*throttle_reasons)(Device, unsigned long long*);
  Result (*nvlink_state)(Device, unsigned, unsigned*);
  Result (*pcie_generation)(Device, unsigned*);
  Result (*pcie_width)(Device, unsigned*);
  Result (*p2p_status)(Device, Device, unsigned, int*);
  Result (*common_ancestor)(Device, Device, unsigned*);
};

absl::StatusOr<Table> Open(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("nvml: the management library is missing (", dlerror(), ")"));
  }
  std::string missing;
  Table table;
  auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(handle, name));
    if (*function == nullptr && missing.empty()) missing = name;
  };
  find("nvmlInit_v2", &table.init);
  find("nvmlShutdown", &table.shutdown);
  find("nvmlErrorString", &table.error_string);
  find("nvmlSystemGetDriverVersion", &table.driver_version);
  find("nvmlDeviceGetHandleByPciBusId_v2", &table.by_bus);
  find("nvmlDeviceGetClockInfo", &table.clock);
  find("nvmlDeviceGetMaxClockInfo", &table.max_clock);
  find("nvmlDeviceGetCurrentClocksThrottleReasons", &table.throttle_reasons);
  find("nvmlDeviceGetNvLinkState", &table.nvlink_state);
  find("nvmlDeviceGetCurrPcieLinkGeneration", &table.pcie_generation);
  find("nvmlDeviceGetCurrPcieLinkWidth", &table.pcie_width);
  find("nvmlDeviceGetP2PStatus", &table.p2p_status);
  find("nvmlDeviceGetTopologyCommonAncestor", &table.common_ancestor);
  if (missing.empty()) return table;
  return absl::FailedPreconditionError(
      absl::StrCat("nvml: ", library, " is too old: it has no ", missing));
}

// Of a value that a device may not have.
template <typename Function, typename... Arguments>
int Ask(Function function, Device device, Arguments... arguments) {
  unsigned value = 0;
  return function(device, arguments..., &value) == kSuccess ? static_cast<int>(value) : 0;
}

std::string SlowedBy(unsigned long long reasons) {
  constexpr std::pair<unsigned long long, const char*> kReasons[] = {{0x04, "power"},
                                                                     {0x08, "hardware slowdown"},
                                                                     {0x20, "heat"},
                                                                     {0x40, "heat"},
                                                                     {0x80, "power brake"},
                                                                     {0x02, "a clock set by hand"},
                                                                     {0x10, "a group of boards"}};
  std::vector<std::string> names;
  for (const auto& [bit, name] : kReasons) {
    if ((reasons & bit) == 0) continue;
    if (names.empty() || names.back() != name) names.push_back(name);
  }
  return absl::StrJoin(names, ", ");
}

NvmlDevice Describe(const Table& table, Device device) {
  NvmlDevice facts;
  facts.clock_mhz = Ask(table.clock, device, kClockSm);
  facts.max_clock_mhz = Ask(table.max_clock, device, kClockSm);
  facts.memory_clock_mhz = Ask(table.clock, device, kClockMemory);
  unsigned long long reasons = 0;
  if (table.throttle_reasons(device, &reasons) == kSuccess) facts.slowed_by = SlowedBy(reasons);
  for (unsigned link = 0; link < kMaxNvlinks; ++link) {
    facts.nvlinks += Ask(table.nvlink_state, device, link);
  }
  facts.pcie_generation = Ask(table.pcie_generation, device);
  facts.pcie_width = Ask(table.pcie_width, device);
  return facts;
}

std::string PathOf(unsigned ancestor) {
  switch (ancestor) {
    case 0:
      return "one board";
    case 10:
      return "a PCIe switch";
    case 20:
      return "PCIe switches";
    case 30:
      return "the host bridge";
    case 40:
      return "host bridges of a NUMA node";
    default:
      return "between NUMA nodes";
  }
}

NvmlLink Link(const Table& table, const std::vector<Device>& devices, int a, int b) {
  NvmlLink link{a, b, "not known", false};
  const auto can = [&](unsigned what) {
    int status = -1;
    return table.p2p_status(devices[a], devices[b], what, &status) == kSuccess && status == 0;
  };
  link.peer_access = can(kP2pRead) && can(kP2pWrite);
  unsigned ancestor = 0;
  if (table.common_ancestor(devices[a], devices[b], &ancestor) == kSuccess) {
    link.path = PathOf(ancestor);
  }
  if (can(kP2pNvlink)) link.path = "NVLink";
  return link;
}

absl::StatusOr<NvmlFacts> Read(const Table& table, const std::vector<std::string>& buses) {
  NvmlFacts facts;
  char driver[96] = "";
  if (table.driver_version(driver, sizeof(driver)) == kSuccess) facts.driver = driver;
  std::vector<Device> devices;
  for (const std::string& bus : buses) {
    devices.push_back(nullptr);
    const Result result = table.by_bus(bus.c_str(), &devices.back());
    if (result != kSuccess) {
      return absl::FailedPreconditionError(
          absl::StrCat("nvml: the device at ", bus, ": ", table.error_string(result)));
    }
    facts.devices.push_back(Describe(table, devices.back()));
  }
  for (int a = 0; a < static_cast<int>(devices.size()); ++a) {
    for (int b = a + 1; b < static_cast<int>(devices.size()); ++b) {
      facts.links.push_back(Link(table, devices, a, b));
    }
  }
  return facts;
}

}  // namespace

absl::StatusOr<NvmlFacts> ReadNvml(const std::string& library,
                                   const std::vector<std::string>& buses) {
  ASSIGN_OR_RETURN(const Table table, Open(library));
  const Result result = table.init();
  if (result != kSuccess) {
    return absl::FailedPreconditionError(absl::StrCat("nvml: ", table.error_string(result)));
  }
  absl::StatusOr<NvmlFacts> facts = Read(table, buses);
  table.shutdown();
  return facts;
}

}  // namespace tessera::worker
