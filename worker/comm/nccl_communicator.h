// Ranks on devices, over NCCL: spans are the device's memory.
#ifndef TESSERA_WORKER_COMM_NCCL_COMMUNICATOR_H_
#define TESSERA_WORKER_COMM_NCCL_COMMUNICATOR_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "worker/comm/group_comms.h"
#include "worker/comm/interrupter.h"
#include "worker/comm/key_value_store.h"
#include "worker/comm/nccl_api.h"

namespace tessera::worker {

struct NcclOptions {
  NcclApi* api = nullptr;          // borrowed, outlives the communicators
  KeyValueStore* store = nullptr;  // borrowed, used only within ConnectNccl
  int rank = 0;
  int tp = 1;
  int pp = 1;
  absl::Duration timeout = absl::Seconds(30);  // of every exchange, and of joining
  absl::Span<std::byte> scratch;  // device memory for barriers: 2 * tp * pp bytes; borrowed
  // Borrowed, used only within ConnectNccl; null: nobody ends it early.
  Interrupter* interrupter = nullptr;
};

// Joins the group. Every communicator is non-blocking and polled against our own deadline, since a
// peer that died on the same host gives no error; when one fails, is aborted or runs out of time,
// NCCL is told to abort: the group is not used again. What NCCL does not tell it cannot name: a
// deadline names all peers. Tags are not on the wire: messages of a pair are taken in order.
absl::StatusOr<GroupComms> ConnectNccl(const NcclOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_NCCL_COMMUNICATOR_H_
