// The executor with real workers on this machine: what the engine gets from them.
#include <catch2/catch.hpp>

#include <filesystem>

#include "server/executor/group_executor.h"
#include "tests/integration/session/group_harness.h"

namespace tessera::tests {
namespace {

void CheckGolden(const server::GroupOptions& options, size_t num_cases) {
  Group group(options);
  uint64_t epoch = group.WaitReady();
  std::vector<GoldenCase> cases = DemoGolden();
  REQUIRE(cases.size() >= num_cases);
  for (size_t i = 0; i < num_cases; ++i) {
    INFO("case " << i);
    CHECK(group.Complete(epoch, cases[i].prompt, 64) == cases[i].output);
  }
}

TEST_CASE("one local worker gives the golden tokens of the bundled model") {
  TempDir dir;
  CheckGolden(DemoGroup(1, 1, dir.path()), 3);
}

TEST_CASE("two tensor-parallel workers give the golden tokens") {
  TempDir dir;
  CheckGolden(DemoGroup(2, 1, dir.path()), 3);
}

TEST_CASE("two pipeline stages give the golden tokens") {
  TempDir dir;
  CheckGolden(DemoGroup(1, 2, dir.path()), 2);
}

TEST_CASE("two local workers over gloo give the golden tokens") {
  NeedComm("gloo");
  TempDir dir;
  server::GroupOptions options = DemoGroup(2, 1, dir.path());
  options.comm = "gloo";
  CheckGolden(options, 1);
}

TEST_CASE("two ranks under mpirun give the golden tokens") {
  NeedComm("mpi");
  TempDir dir;
  server::GroupOptions options = DemoGroup(2, 1, dir.path());
  options.comm = "mpi";
  CheckGolden(options, 1);
  CHECK(ChildProcesses().empty());
}

TEST_CASE("a group that is connected has no file on disk, and a stopped one no process") {
  TempDir dir;
  {
    Group group(DemoGroup(2, 1, dir.path()));
    group.WaitReady();
    CHECK(std::filesystem::is_empty(dir.path()));
    CHECK(ChildProcesses().size() == 2);
  }
  CHECK(ChildProcesses().empty());
}

TEST_CASE("the status names every rank and what it holds") {
  TempDir dir;
  Group group(DemoGroup(2, 1, dir.path()));
  group.WaitReady();
  server::GroupStatus status = group.executor().GetStatus();
  CHECK(status.state == server::GroupState::kReady);
  CHECK(status.epoch == 1);
  CHECK(status.comm == "shm");
  REQUIRE(status.ranks.size() == 2);
  for (int rank = 0; rank < 2; ++rank) {
    CHECK(status.ranks[rank].rank == rank);
    CHECK(status.ranks[rank].tp_index == rank);
    CHECK(status.ranks[rank].pid > 0);
    CHECK_FALSE(status.ranks[rank].kernels.empty());
    CHECK(status.ranks[rank].weight_bytes > 0);
    CHECK(status.ranks[rank].weight_bytes_read < DemoCheckpoint().total_bytes());
    CHECK(status.ranks[rank].kv_bytes > 0);
    CHECK(status.ranks[rank].load_fraction == 1);
  }
}

TEST_CASE("degrees beyond the model's are refused before a worker is started") {
  server::GroupOptions options = DemoGroup(64, 1, "/tmp");
  CHECK(absl::IsFailedPrecondition(server::GroupExecutor::Create(options).status()));
}

TEST_CASE("a cache that does not fit the memory fails with the numbers") {
  TempDir dir;
  server::GroupOptions options = DemoGroup(1, 1, dir.path());
  options.num_kv_blocks = 4000000000u;
  Group group(options);
  auto event = group.WaitLost();
  CHECK(event.kind == RecordedEvents::Event::Kind::kFailed);
  CHECK(absl::IsFailedPrecondition(event.why));
}

}  // namespace
}  // namespace tessera::tests
