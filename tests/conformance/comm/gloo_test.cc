// The suite over ranks as processes that are joined by Gloo's TCP transport.
#include <catch2/catch.hpp>

#include "tests/conformance/comm/cases.h"
#include "tests/conformance/comm/rank_processes.h"
#include "tests/support/fixtures.h"
#include "worker/comm/gloo_communicator.h"

namespace tessera::tests {
namespace {

void RequireGloo() {
  if (!worker::HasGloo()) SkipTest("this build has no Gloo (libgloo-dev)");
}

GroupResult RunOverGloo(GroupRun run) {
  run.kind = "gloo";
  run.interface = "127.0.0.1";
  return RunGroup(run);
}

void RunSuite(int tp, int pp) {
  RequireGloo();
  for (const CommCase& test : CommCases()) {
    INFO(test.sentence);
    const GroupResult result = RunOverGloo({.tp = tp, .pp = pp, .test = test.name});
    INFO(result.output);
    CHECK(result.ok);
  }
}

TEST_CASE("two processes over Gloo do all that a communicator must") { RunSuite(2, 1); }
TEST_CASE("three processes over Gloo do all that a communicator must") { RunSuite(3, 1); }
TEST_CASE("stages of processes over Gloo do all that a communicator must") { RunSuite(2, 2); }
TEST_CASE("eight processes over Gloo do all that a communicator must") { RunSuite(8, 1); }

TEST_CASE("a stopped process is named by those that Gloo connects with it") {
  RequireGloo();
  const GroupResult result =
      RunOverGloo({.tp = 3, .timeout_ms = 1500, .test = "stopped", .victim = 2});
  INFO(result.output);
  CHECK(result.ok);
}

TEST_CASE("a killed process is noticed by those that Gloo connects with it") {
  RequireGloo();
  const GroupResult result = RunOverGloo({.tp = 2, .pp = 2, .test = "killed", .victim = 3});
  INFO(result.output);
  CHECK(result.ok);
}

TEST_CASE("a process that leaves Gloo's connections is gone for the others") {
  RequireGloo();
  const GroupResult result = RunOverGloo({.tp = 3, .test = "leaves"});
  INFO(result.output);
  CHECK(result.ok);
}

TEST_CASE("joining over Gloo names the ranks that do not come") {
  RequireGloo();
  const GroupResult result =
      RunOverGloo({.tp = 4, .timeout_ms = 500, .test = "nothing", .start = 2});
  CHECK_FALSE(result.ok);
  CHECK(result.output.find("DEADLINE_EXCEEDED") != std::string::npos);
  CHECK(result.output.find("2, 3") != std::string::npos);
}

TEST_CASE("an interface that is not there is refused with a hint") {
  RequireGloo();
  const GroupResult result =
      RunGroup({.kind = "gloo", .tp = 2, .test = "nothing", .start = 1, .interface = "192.0.2.77"});
  CHECK_FALSE(result.ok);
  INFO(result.output);
  CHECK(result.output.find("FAILED_PRECONDITION") != std::string::npos);
  CHECK(result.output.find("--collective-interface") != std::string::npos);
}

}  // namespace
}  // namespace tessera::tests
