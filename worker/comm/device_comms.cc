#include "worker/comm/device_comms.h"

#include "shard_loader/status_macros.h"
#include "worker/comm/nccl_library.h"

namespace tessera::worker {

absl::StatusOr<DeviceComms> ConnectDevices(Memory& memory, const std::string& plugin_dir,
                                           NcclOptions options) {
  if (memory.on_host()) {
    return absl::FailedPreconditionError(
        "comm: nccl is between CUDA devices, but this rank computes on the CPU; use --comm auto");
  }
  DeviceComms device;
  ASSIGN_OR_RETURN(device.api, OpenNccl(plugin_dir, memory.stream()));
  const int ranks = options.tp * options.pp;
  ASSIGN_OR_RETURN(device.scratch, memory.Allocate(2 * ranks, "barriers"));
  options.api = device.api.get();
  options.scratch = {device.scratch.data(), 2 * static_cast<size_t>(ranks)};
  ASSIGN_OR_RETURN(device.comms, ConnectNccl(options));
  return device;
}

}  // namespace tessera::worker
