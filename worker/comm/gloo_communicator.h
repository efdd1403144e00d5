// Ranks on several hosts, over Gloo's TCP transport.
#ifndef TESSERA_WORKER_COMM_GLOO_COMMUNICATOR_H_
#define TESSERA_WORKER_COMM_GLOO_COMMUNICATOR_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/group_comms.h"
#include "worker/comm/interrupter.h"
#include "worker/comm/key_value_store.h"

namespace tessera::worker {

// Whether this build has Gloo; ConnectGloo is UNIMPLEMENTED where it has not.
bool HasGloo();

struct GlooOptions {
  int rank = 0;
  int tp = 1;
  int pp = 1;
  absl::Duration timeout = absl::Seconds(30);
  // Name of a network interface, or an address or host name of this host; empty: what the host's
  // own name resolves to.
  std::string interface;
  KeyValueStore* store = nullptr;  // borrowed until ConnectGloo returns
  // Likewise; may be null. Ends every wait but those for the store, which its owner closes.
  Interrupter* interrupter = nullptr;
};

// Joins the group, and returns when all ranks are connected to each other. CANCELLED where it was
// interrupted.
absl::StatusOr<GroupComms> ConnectGloo(const GlooOptions& options);

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_GLOO_COMMUNICATOR_H_
