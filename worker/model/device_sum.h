// worker/comm's LaneSums for memory that the host does not add in: the bytes go over a communicator
// of that memory, the tree is finished by the backend. The same sums in the same order.
#ifndef TESSERA_WORKER_MODEL_DEVICE_SUM_H_
#define TESSERA_WORKER_MODEL_DEVICE_SUM_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/comm/lane_sum.h"

namespace tessera::worker {

struct DeviceSumArgs {
  absl::Span<const SharedLanes> sums;  // side by side in one exchange
  // [maximal subtrees of the rank, count] of each sum, one behind the other.
  const float* own_roots = nullptr;
  int64_t count = 0;
  float* output = nullptr;    // [sums, count]; overlaps no root
  absl::Span<float> scratch;  // at least LaneSumWorkspace::Bytes
};

// Errors are those of the communicator; INVALID_ARGUMENT where scratch and trees do not fit.
absl::Status DeviceSum(const DeviceSumArgs& args, Backend& backend, Communicator& tensor);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_MODEL_DEVICE_SUM_H_
