#include "server/executor/launch.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/rpc/session_auth.h"
#include "server/executor/group_plan.h"
#include "server/executor/unique_fd.h"
#include "server/executor/worker_addresses.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// Time for mpirun to end its ranks before it is killed, and with it the way to reach them.
constexpr absl::Duration kMpirunGrace = absl::Seconds(5);

ChildProcess::LostFunction PutInto(Mailbox* mailbox, int rank) {
  return [mailbox, rank](absl::Status why) {
    mailbox->Put({.kind = GroupEvent::Kind::kProcessLost, .rank = rank, .status = std::move(why)});
  };
}

std::vector<std::string> CommonFlags(const GroupOptions& options) {
  std::vector<std::string> flags;
  if (!options.backend_dir.empty()) flags = {"--backend-dir", options.backend_dir};
  if (!options.cache_dir.empty()) {
    flags.insert(flags.end(), {"--cache-dir", options.cache_dir});
  }
  flags.insert(flags.end(), {"--device", options.device});
  return flags;
}

absl::Status StartChildren(const GroupOptions& options, const WeightMemory& weights,
                           Mailbox* mailbox, LaunchedGroup& group) {
  int num_ranks = static_cast<int>(weights.size());
  UniqueFd comm(memfd_create("tessera-comm", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!comm.valid()) return absl::ErrnoToStatus(errno, "cannot make memory for the ranks to share");
  for (int rank = 0; rank < num_ranks; ++rank) {
    group.addresses.push_back("unix:" + group.folder->SocketPath(absl::StrCat(rank)));
    ChildProcessOptions child{.program = options.worker_program,
                              .arguments = CommonFlags(options),
                              .name = absl::StrCat("rank ", rank),
                              .secret = group.secret,
                              .comm_fd = comm.get(),
                              .image_fd = weights[rank].get(),
                              .cpus = options.cpus};
    const std::vector<int> cpus = CpusOfRank(options, rank);
    if (!cpus.empty()) {
      child.arguments.insert(child.arguments.end(), {"--cpus", absl::StrJoin(cpus, ",")});
    }
    for (std::string flag :
         {std::string("--listen"), group.addresses.back(), std::string("--parent-fd"),
          absl::StrCat(kChildParentFd), std::string("--secret-fd"), absl::StrCat(kChildSecretFd),
          std::string("--comm-fd"), absl::StrCat(kChildCommFd), std::string("--image-fd"),
          absl::StrCat(kChildImageFd)}) {
      child.arguments.push_back(std::move(flag));
    }
    ASSIGN_OR_RETURN(auto process, ChildProcess::Start(child, PutInto(mailbox, rank)));
    group.children.push_back(std::move(process));
  }
  return absl::OkStatus();
}

// A launcher of mpirun as the child, the ranks as mpirun's own. They inherit nothing: the secret,
// and links to the memory of their weights, lie in the private folder, beside mpirun's own files,
// and they end with their session.
absl::Status StartMpirun(const GroupOptions& options, const WeightMemory& weights, Mailbox* mailbox,
                         LaunchedGroup& group) {
  const int num_ranks = static_cast<int>(weights.size());
  RETURN_IF_ERROR(group.folder->Write("secret", group.secret));
  for (int rank = 0; rank < num_ranks; ++rank) {
    group.addresses.push_back("unix:" + group.folder->SocketPath(absl::StrCat(rank)));
    RETURN_IF_ERROR(
        group.folder->Link(absl::StrCat("image.", rank),
                           absl::StrCat("/proc/", getpid(), "/fd/", weights[rank].get())));
  }
  ChildProcessOptions child{
      .program = options.worker_program, .name = "mpirun", .secret = group.secret};
  // Open MPI refuses to run as root, in a container too, unless it is told twice.
  if (geteuid() == 0) {
    child.environment = {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"};
  }
  child.arguments = {
      "--launch", absl::StrCat(kChildParentFd), group.folder->path(), "mpirun",
      // Ranks may share cores, and their threads are ours to place.
      "--oversubscribe", "--bind-to", "none", "--mca", "orte_tmpdir_base", group.folder->path(),
      "-n", absl::StrCat(num_ranks), options.worker_program, "--comm", "mpi", "--once", "--listen",
      "unix:" + group.folder->SocketPath("%r"), "--secret-file", group.folder->path() + "/secret",
      "--image-file", group.folder->path() + "/image.%r"};
  for (std::string& flag : CommonFlags(options)) child.arguments.push_back(std::move(flag));
  ASSIGN_OR_RETURN(auto process, ChildProcess::Start(child, PutInto(mailbox, -1)));
  group.children.push_back(std::move(process));
  return absl::OkStatus();
}

// One process that plays all ranks, each on its own socket.
absl::Status StartSimulation(const GroupOptions& options, int num_ranks, Mailbox* mailbox,
                             LaunchedGroup& group) {
  for (int rank = 0; rank < num_ranks; ++rank) {
    group.addresses.push_back("unix:" + group.folder->SocketPath(absl::StrCat(rank)));
  }
  const SimOptions& sim = options.sim;
  ChildProcessOptions child{.program = options.worker_program,
                            .arguments = {"--device", "sim"},
                            .name = "sim",
                            .secret = group.secret};
  auto flag = [&child](const std::string& name, const std::string& value) {
    child.arguments.push_back(name);
    child.arguments.push_back(value);
  };
  flag("--sim-ranks", absl::StrCat(num_ranks));
  flag("--sim-fixed-us", absl::StrCat(sim.fixed_us));
  flag("--sim-token-us", absl::StrCat(sim.token_us));
  flag("--sim-kv-gbps", absl::StrCat(sim.kv_gbps));
  flag("--sim-memory-gb", absl::StrCat(sim.memory_gb));
  if (sim.poison_token) flag("--sim-poison-token", absl::StrCat(*sim.poison_token));
  if (!sim.trace.empty()) {
    const bool alone = options.num_replicas == 1;
    flag("--sim-trace", alone ? sim.trace : absl::StrCat(sim.trace, ".", options.replica));
  }
  flag("--listen", "unix:" + group.folder->SocketPath("%r"));
  flag("--parent-fd", absl::StrCat(kChildParentFd));
  flag("--secret-fd", absl::StrCat(kChildSecretFd));
  ASSIGN_OR_RETURN(auto process, ChildProcess::Start(child, PutInto(mailbox, -1)));
  group.children.push_back(std::move(process));
  return absl::OkStatus();
}

}  // namespace

LaunchedGroup::~LaunchedGroup() {
  for (auto& child : children) child->Signal(mpirun ? SIGTERM : SIGKILL);
  if (mpirun) {
    for (auto& child : children) child->WaitForExit(kMpirunGrace);
  }
}

std::vector<int> CpusOfRank(const GroupOptions& options, int rank) {
  const int ranks = options.layout.tp * options.layout.pp;
  std::vector<int> cpus = options.cpus;
  cpu_set_t set;
  if (cpus.empty() && options.threads == 0 && sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  const int count = static_cast<int>(cpus.size());
  const int64_t all_ranks = int64_t{ranks} * options.num_replicas;
  const int64_t place = int64_t{ranks} * options.replica + rank;
  if (count < all_ranks) return options.cpus;
  return {cpus.begin() + count * place / all_ranks, cpus.begin() + count * (place + 1) / all_ranks};
}

absl::StatusOr<WeightMemory> MakeWeightMemory(int num_ranks) {
  WeightMemory memory;
  for (int rank = 0; rank < num_ranks; ++rank) {
    std::string name = absl::StrCat("tessera-weights-", rank);
    memory.emplace_back(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!memory.back().valid()) {
      return absl::ErrnoToStatus(errno, "cannot make memory for the weights of a rank");
    }
  }
  return memory;
}

absl::StatusOr<LaunchedGroup> LaunchGroup(const GroupOptions& options, const WeightMemory& weights,
                                          Mailbox* mailbox) {
  int num_ranks = options.layout.tp * options.layout.pp;
  LaunchedGroup group;
  if (!options.workers.empty()) {
    group.secret = options.secret;
    ASSIGN_OR_RETURN(group.addresses, ResolveWorkers(options.workers, num_ranks));
    return group;
  }
  group.local = true;
  group.simulated = options.device == "sim";
  group.mpirun = ResolveComm(options) == "mpi";
  ASSIGN_OR_RETURN(std::string bytes, rpc::RandomBytes(rpc::kSessionNonceBytes));
  // Text, since white space at the end of a secret file does not count.
  for (char c : bytes)
    absl::StrAppend(&group.secret, absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
  ASSIGN_OR_RETURN(group.folder, RuntimeFolder::Create(options.runtime_dir));
  if (group.simulated) {
    RETURN_IF_ERROR(StartSimulation(options, num_ranks, mailbox, group));
  } else {
    RETURN_IF_ERROR(group.mpirun ? StartMpirun(options, weights, mailbox, group)
                                 : StartChildren(options, weights, mailbox, group));
  }
  return group;
}

}  // namespace tessera::server
