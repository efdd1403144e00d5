// The build without Gloo.
#include "worker/comm/gloo_communicator.h"

namespace tessera::worker {

bool HasGloo() { return false; }

absl::StatusOr<GroupComms> ConnectGloo(const GlooOptions&) {
  return absl::UnimplementedError(
      "comm: this build has no Gloo; install libgloo-dev and build again, or keep all ranks on one "
      "host with --comm shm");
}

}  // namespace tessera::worker
