#include "worker/backend/cuda_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/status_macros.h"
#include "worker/backend/cuda/plugin.h"
#include "worker/tensor/plugin_file.h"

namespace tessera::worker {
namespace {

constexpr char kPluginFile[] = "libtessera_cuda.so";

absl::StatusOr<std::string> FindPlugin(const std::string& plugin_dir) {
  absl::StatusOr<std::string> path = FindPluginFile(kPluginFile, plugin_dir);
  if (path.ok()) return path;
  return absl::FailedPreconditionError(
      absl::StrCat("cuda: ", path.status().message(),
                   "; build it on a machine with the CUDA toolkit (cmake --preset cuda), and give "
                   "its folder as --backend-dir"));
}

struct Plugin {
  std::string path;
  const TesseraCudaPlugin* table = nullptr;
};

absl::StatusOr<Plugin> LoadPlugin(const std::string& plugin_dir) {
  ASSIGN_OR_RETURN(const std::string path, FindPlugin(plugin_dir));
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("cuda: cannot load the plugin: ", dlerror()));
  }
  auto entry = reinterpret_cast<TesseraCudaPluginEntry>(dlsym(handle, TESSERA_CUDA_PLUGIN_ENTRY));
  const TesseraCudaPlugin* table = entry == nullptr ? nullptr : entry();
  if (table == nullptr || table->version != TESSERA_CUDA_PLUGIN_VERSION ||
      table->bytes != sizeof(TesseraCudaPlugin) ||
      std::string(table->build) != TESSERA_CUDA_BUILD) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cuda: ", path, " is not the plugin of this version; take both from one build"));
  }
  return Plugin{path, table};
}

std::string VersionText(int version) {
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

absl::StatusOr<CudaDevice> Describe(const TesseraCudaPlugin& plugin, int index) {
  TesseraCudaDevice found = {};
  char error[512] = "";
  if (plugin.describe(index, &found, error, sizeof(error)) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("cuda: ", error));
  }
  CudaDevice device;
  device.index = index;
  device.name = found.name;
  device.bus = found.bus;
  device.major = found.major;
  device.minor = found.minor;
  device.processors = found.processors;
  device.clock_mhz = found.clock_mhz;
  device.total_bytes = static_cast<int64_t>(found.total_bytes);
  device.free_bytes = static_cast<int64_t>(found.free_bytes);
  return device;
}

absl::StatusOr<CudaFacts> Ask(const Plugin& plugin) {
  const TesseraCudaPlugin& table = *plugin.table;
  CudaFacts facts;
  facts.plugin = plugin.path;
  int driver = 0, runtime = 0;
  char error[512] = "";
  const int count = table.count_devices(&driver, &runtime, error, sizeof(error));
  facts.driver = VersionText(driver);
  facts.runtime = VersionText(runtime);
  if (count < 0) return absl::FailedPreconditionError(absl::StrCat("cuda: ", error));
  std::vector<std::string> too_old;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(CudaDevice device, Describe(table, i));
    if (std::pair(device.major, device.minor) < std::pair(table.min_major, table.min_minor)) {
      too_old.push_back(absl::StrCat("device ", i, ", ", device.name, ", has compute capability ",
                                     device.major, ".", device.minor));
    } else {
      facts.devices.push_back(std::move(device));
    }
  }
  if (facts.devices.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("cuda: ", absl::StrJoin(too_old, "; "),
                                                      "; this build needs ", table.min_major, ".",
                                                      table.min_minor, " or more"));
  }
  return facts;
}

}  // namespace

absl::StatusOr<CudaFacts> FindCuda(const std::string& plugin_dir) {
  ASSIGN_OR_RETURN(const Plugin plugin, LoadPlugin(plugin_dir));
  return Ask(plugin);
}

bool IsCudaKernelSet(absl::string_view kernel_set) {
  return kernel_set == "cuda" || kernel_set == "cuda-exact";
}

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const std::string& plugin_dir,
                                                         absl::string_view kernel_set, int device) {
  if (!IsCudaKernelSet(kernel_set)) {
    return absl::InvalidArgumentError(absl::StrCat("cuda: there is no kernel set '", kernel_set,
                                                   "'; there are cuda, cuda-exact"));
  }
  ASSIGN_OR_RETURN(const Plugin plugin, LoadPlugin(plugin_dir));
  ASSIGN_OR_RETURN(const CudaFacts facts, Ask(plugin));
  std::vector<int> usable;
  for (const CudaDevice& each : facts.devices) usable.push_back(each.index);
  if (std::find(usable.begin(), usable.end(), device) == usable.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cuda: there is no device ", device, " to use; there are ", absl::StrJoin(usable, ", ")));
  }
  char error[512] = "";
  const int exact = kernel_set == "cuda-exact" ? 1 : 0;
  Backend* backend = plugin.table->new_backend(device, exact, error, sizeof(error));
  if (backend == nullptr) return absl::UnavailableError(error);
  return std::unique_ptr<Backend>(backend);
}

}  // namespace tessera::worker
