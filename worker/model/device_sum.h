// worker/comm's LaneSum for memory that the host does not add in: the bytes go over a communicator
// of that memory, the tree is finished by the backend. The same sums in the same order.
#ifndef TESSERA_WORKER_MODEL_DEVICE_SUM_H_
#define TESSERA_WORKER_MODEL_DEVICE_SUM_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "shard_loader/plan/lanes.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"

namespace tessera::worker {

struct DeviceSumArgs {
  const shard_loader::LaneTree* tree = nullptr;
  absl::Span<const shard_loader::Range> lanes_by_rank;
  const float* own_roots = nullptr;  // [maximal subtrees of the rank, count]
  int64_t count = 0;
  float* output = nullptr;    // [count]; overlaps no root
  absl::Span<float> scratch;  // at least LaneSumWorkspace::Bytes
};

// Errors are those of the communicator; INVALID_ARGUMENT where scratch and tree do not fit.
absl::Status DeviceSum(const DeviceSumArgs& args, Backend& backend, Communicator& tensor);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_DEVICE_SUM_H_
