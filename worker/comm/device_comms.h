// Communicators of a device's memory, with what they stand on.
#ifndef TESSERA_WORKER_COMM_DEVICE_COMMS_H_
#define TESSERA_WORKER_COMM_DEVICE_COMMS_H_

#include <memory>

#include "worker/comm/group_comms.h"
#include "worker/comm/nccl_api.h"
#include "worker/tensor/buffer.h"

namespace tessera::worker {

// Empty where there are none. The communicators end before the rest.
struct DeviceComms {
  std::unique_ptr<NcclApi> api;
  Buffer scratch;
  GroupComms comms;
};

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_DEVICE_COMMS_H_
