#include "worker/comm/nccl_library.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"
#include "worker/comm/nccl_plugin.h"
#include "worker/tensor/plugin_file.h"

namespace tessera::worker {

absl::StatusOr<std::unique_ptr<NcclApi>> OpenNccl(const std::string& plugin_dir, void* stream) {
  const absl::StatusOr<std::string> path = FindPluginFile("libtessera_cuda.so", plugin_dir);
  if (!path.ok()) {
    return absl::FailedPreconditionError(absl::StrCat("comm: nccl: ", path.status().message()));
  }
  void* handle = dlopen(path->c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("comm: nccl: cannot load the plugin: ", dlerror()));
  }
  auto entry = reinterpret_cast<TesseraNcclPluginEntry>(dlsym(handle, TESSERA_NCCL_PLUGIN_ENTRY));
  if (entry == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "comm: nccl: ", *path, " is not the plugin of this version; take both from one build"));
  }
  char error[512] = "";
  NcclApi* api = entry(TESSERA_NCCL_PLUGIN_VERSION, stream, error, sizeof(error));
  if (api == nullptr) return absl::FailedPreconditionError(absl::StrCat("comm: nccl: ", error));
  return std::unique_ptr<NcclApi>(api);
}

}  // namespace tessera::worker
