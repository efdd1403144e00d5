// The suite over ranks that mpirun starts.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/conformance/comm/cases.h"
#include "tests/conformance/comm/rank_processes.h"
#include "tests/support/fixtures.h"
#include "worker/comm/mpi_communicator.h"

namespace tessera::tests {
namespace {

bool OnPath(const std::string& program) {
  std::istringstream path(std::getenv("PATH"));
  for (std::string folder; std::getline(path, folder, ':');) {
    if (access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

void RequireMpi() {
  if (!OnPath("mpirun")) SkipTest("mpirun is not installed (openmpi-bin)");
  const auto plugin = worker::FindMpiPlugin("");
  if (!plugin.ok()) SkipTest(plugin.status().ToString());
}

void RunSuite(int tp, int pp) {
  RequireMpi();
  for (const CommCase& test : CommCases()) {
    INFO(test.sentence);
    const GroupResult result =
        RunWithMpirun({.kind = "mpi", .tp = tp, .pp = pp, .test = test.name});
    INFO(result.output);
    if (test.breaks) {
      // A world ends with any of its ranks, those that have not reported yet included.
      CHECK(result.output.find("ended well") != std::string::npos);
      CHECK(result.output.find("gave:") == std::string::npos);
    } else {
      CHECK(result.ok);
    }
  }
}

TEST_CASE("two ranks of mpirun do all that a communicator must") { RunSuite(2, 1); }
TEST_CASE("three ranks of mpirun do all that a communicator must") { RunSuite(3, 1); }
TEST_CASE("stages of ranks of mpirun do all that a communicator must") { RunSuite(2, 2); }

TEST_CASE("a rank that mpirun did not start is told how to start it") {
  RequireMpi();
  const GroupResult result = RunGroup({.kind = "mpi", .tp = 2, .test = "nothing", .start = 1});
  CHECK_FALSE(result.ok);
  INFO(result.output);
  CHECK(result.output.find("start the workers with mpirun -n 2") != std::string::npos);
}

TEST_CASE("a missing plugin is reported with the folder where it was looked for") {
  const auto plugin = worker::FindMpiPlugin("/nonexistent");
  CHECK(absl::IsFailedPrecondition(plugin.status()));
  CHECK(plugin.status().ToString().find("not found in /nonexistent;") != std::string::npos);
}

}  // namespace
}  // namespace tessera::tests
