// How a worker process joins its group.
#ifndef TESSERA_WORKER_COMM_FACTORY_H_
#define TESSERA_WORKER_COMM_FACTORY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/group_comms.h"
#include "worker/comm/interrupter.h"
#include "worker/comm/key_value_store.h"

namespace tessera::worker {

struct CommOptions {
  // "shm" (all ranks on this host), "gloo" (CPU ranks on any hosts), "mpi" (this process was
  // started by mpirun). Ignored for a group of one rank, which needs none.
  std::string kind = "shm";
  int rank = 0;  // of the group: stage * tp + tp_index
  int tp = 1;
  int pp = 1;
  // Of every single exchange, and of joining the group.
  absl::Duration timeout = absl::Seconds(30);

  // shm: an empty memfd, inherited by every rank of this epoch and by nobody else:
  // memfd_create("tessera-comm", MFD_CLOEXEC | MFD_ALLOW_SEALING); the ranks give it its size. A
  // new one for every epoch. Borrowed: it may be closed after ConnectGroup.
  int shm_fd = -1;

  // gloo: interface name ("eth0") or address to listen on; empty: the one that the host's name
  // resolves to, and loopback where it resolves to none.
  std::string interface;
  // gloo: borrowed, used only within ConnectGroup.
  KeyValueStore* store = nullptr;
  // gloo: borrowed, used only within ConnectGroup; null: nobody ends it early.
  Interrupter* interrupter = nullptr;

  // mpi: folder of libtessera_mpi.so; empty: beside this program, or ../lib/tessera from there.
  std::string plugin_dir;
};

// Returns when all ranks have joined. Errors: UNIMPLEMENTED (a kind unknown, or not in this build),
// FAILED_PRECONDITION (a plugin or an interface that is missing, no MPI world, a region of another
// version), DEADLINE_EXCEEDED naming the ranks that did not come.
absl::StatusOr<GroupComms> ConnectGroup(const CommOptions& options);

// The kinds that can be asked for here: those of this build, plugins only where they are found.
std::vector<std::string> AvailableComms(const std::string& plugin_dir = "");

}  // namespace tessera::worker

#endif  // TESSERA_WORKER_COMM_FACTORY_H_
