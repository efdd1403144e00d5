// Every family's answers on one rank and on several: the same bits.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/golden/model/family_runs.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

TEST_CASE("answers of every family are equal on one rank and on six") {
  for (const std::string& name : FamilyCheckpoints()) {
    INFO(name);
    CHECK(CheckDegrees(name, {{3, 2}}) == 1);
  }
}

TEST_CASE("answers of models with experts are equal at every expert-parallel degree") {
  int checked = 0;
  for (const std::string& name : FamilyCheckpoints()) {
    const auto checkpoint = shard_loader::Checkpoint::Open(Fixture(name)).value();
    if (checkpoint->spec().moe.num_experts == 0) continue;
    INFO(name);
    GroupOptions options;
    options.tp = 2;
    options.ep = 2;
    const std::vector<Answer> expected = RunFamily(name, options);
    options.tp = 4;
    options.ep = 4;
    CheckSame(expected, RunFamily(name, options));
    options.pp = 2;
    options.tp = 3;
    options.ep = 3;
    CheckSame(expected, RunFamily(name, options));
    ++checked;
  }
  CHECK(checked >= 5);
}

}  // namespace
}  // namespace tessera::tests
