// Communicators of a device's memory, with what they stand on.
#ifndef TESSERA_WORKER_COMM_DEVICE_COMMS_H_
#define TESSERA_WORKER_COMM_DEVICE_COMMS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/comm/group_comms.h"
#include "worker/comm/nccl_api.h"
#include "worker/comm/nccl_communicator.h"
#include "worker/tensor/buffer.h"
#include "worker/tensor/memory.h"

namespace tessera::worker {

// Empty where there are none. The communicators end before the rest.
struct DeviceComms {
  std::unique_ptr<NcclApi> api;
  Buffer scratch;
  GroupComms comms;
};

// Over NCCL, with ids that come through the store. `options` without api and scratch, which are
// made here. FAILED_PRECONDITION where `memory` is the host's or NCCL is missing; else as
// ConnectNccl.
absl::StatusOr<DeviceComms> ConnectDevices(Memory& memory, const std::string& plugin_dir,
                                           NcclOptions options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_DEVICE_COMMS_H_
