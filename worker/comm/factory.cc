#include "worker/comm/factory.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/comm/gloo_communicator.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/mpi_communicator.h"
#include "worker/comm/shm_communicator.h"

namespace tessera::worker {
namespace {

absl::StatusOr<GroupComms> ConnectOverGloo(const CommOptions& options) {
  if (options.store == nullptr) {
    return absl::InvalidArgumentError("comm: gloo needs a store to exchange addresses");
  }
  GlooOptions gloo;
  gloo.rank = options.rank;
  gloo.tp = options.tp;
  gloo.pp = options.pp;
  gloo.timeout = options.timeout;
  gloo.interface = options.interface;
  gloo.store = options.store;
  gloo.interrupter = options.interrupter;
  return ConnectGloo(gloo);
}

}  // namespace

absl::StatusOr<GroupComms> ConnectGroup(const CommOptions& options) {
  const int ranks = options.tp * options.pp;
  if (options.tp < 1 || options.pp < 1 || options.rank < 0 || options.rank >= ranks) {
    return absl::InvalidArgumentError(absl::StrCat("comm: there is no rank ", options.rank,
                                                   " in a group of tp ", options.tp, " pp ",
                                                   options.pp));
  }
  if (ranks == 1) return std::move(MakeLocalComms(1, 1, options.timeout)[0]);
  if (options.kind == "shm") {
    return ConnectShm(options.shm_fd, options.rank, options.tp, options.pp, options.timeout);
  }
  if (options.kind == "gloo") return ConnectOverGloo(options);
  if (options.kind == "mpi") {
    return ConnectMpi(options.plugin_dir, options.rank, options.tp, options.pp, options.timeout);
  }
  return absl::UnimplementedError(
      absl::StrCat("comm: there is no '", options.kind, "' here; this worker has ",
                   absl::StrJoin(AvailableComms(options.plugin_dir), ", ")));
}

std::vector<std::string> AvailableComms(const std::string& plugin_dir) {
  std::vector<std::string> kinds = {"shm"};
  if (HasGloo()) kinds.push_back("gloo");
  if (FindMpiPlugin(plugin_dir).ok()) kinds.push_back("mpi");
  return kinds;
}

}  // namespace tessera::worker
