// The executor with real workers on this machine: what the engine gets from them.
#include <catch2/catch.hpp>

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

}  // namespace
}  // namespace tessera::tests
