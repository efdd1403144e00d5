// One rank of a group as a process of its own: joins, runs one case of the suite, and tells by its
// exit code how it went.
//   comm_rank KIND RANK TP PP TIMEOUT_MS CASE [STORE_FOLDER [INTERFACE]]
// A region for shm is inherited as descriptor 3. RANK `mpi` counts the ranks of mpirun's world from
// behind, so that ranks and world differ.
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/conformance/comm/cases.h"
#include "tests/conformance/comm/file_store.h"
#include "worker/comm/factory.h"

namespace tessera::tests {
namespace {

using worker::CommOptions;
using worker::GroupComms;

int RankOf(const std::string& text, int ranks) {
  if (text != "mpi") return std::atoi(text.c_str());
  const char* world = std::getenv("OMPI_COMM_WORLD_RANK");
  return world == nullptr ? -1 : ranks - 1 - std::atoi(world);
}

absl::Status Run(const std::string& name, GroupComms& comms) {
  for (const CommCase& test : CommCases()) {
    if (test.name == name) return test.run(comms);
  }
  const int last = comms.group->size() - 1;
  const bool victim = comms.group->rank() == last;
  if (name == "stopped") {
    if (victim) raise(SIGSTOP);
    return failing::AbsentRank(comms, last);
  }
  if (name == "killed") {
    const absl::Status met = comms.group->Barrier();
    if (victim) raise(SIGKILL);
    return met.ok() ? failing::GoneRank(comms, last) : met;
  }
  if (name == "leaves") {
    if (!victim) return failing::GoneRank(comms, last);
    comms = {};
    return absl::OkStatus();
  }
  if (name == "nothing") return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no case ", name));
}

int Main(int argc, char** argv) {
  if (argc < 7) {
    std::fprintf(stderr, "comm_rank: too few arguments\n");
    return 2;
  }
  FileStore store(argc > 7 ? argv[7] : "");
  CommOptions options;
  options.kind = argv[1];
  options.tp = std::atoi(argv[3]);
  options.pp = std::atoi(argv[4]);
  options.rank = RankOf(argv[2], options.tp * options.pp);
  options.timeout = absl::Milliseconds(std::atoi(argv[5]));
  options.shm_fd = 3;
  options.store = &store;
  if (argc > 8) options.interface = argv[8];
  auto comms = worker::ConnectGroup(options);
  absl::Status status = comms.ok() ? Run(argv[6], *comms) : comms.status();
  if (status.ok()) {
    std::printf("rank %d: ended well\n", options.rank);
    return 0;
  }
  std::fprintf(stderr, "rank %d: %s\n", options.rank, status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace tessera::tests

int main(int argc, char** argv) { return tessera::tests::Main(argc, argv); }
