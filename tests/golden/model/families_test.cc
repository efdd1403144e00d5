// Every family's answers on one rank and on several: the same bits.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "shard_loader/load/block_format.h"
#include "tests/golden/model/family_runs.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

using worker::SequenceStart;

TEST_CASE("answers of every family are equal on one rank and on six") {
  for (const std::string& name : FamilyCheckpoints()) {
    INFO(name);
    CHECK(CheckDegrees(name, {{3, 2}}) == 1);
  }
}

TEST_CASE("answers of quantised blocks that are held as they are do not depend on the degrees") {
  const std::vector<SequenceStart> starts = {GreedyStart({1, 5, 9, 33, 90, 7}, 6),
                                             GreedyStart({44}, 6)};
  for (const auto& [name, dtype] :
       {std::pair("gguf_blocks/q8_0", "int8"), std::pair("gguf_blocks/q4_0", "int4"),
        std::pair("gguf_blocks/q4_0", "int8"), std::pair("gguf_blocks/q4_1", "int4")}) {
    const auto checkpoint = shard_loader::Checkpoint::Open(Fixture(name)).value();
    GroupOptions options;
    options.dtype = shard_loader::FormatFor(*checkpoint, dtype).value();
    CHECK_FALSE(options.dtype.groups_restart);
    Group one(Fixture(name), options);
    const std::vector<Answer> expected = one.Generate(starts);
    for (const int tp : {2, 3, 4}) {
      INFO(name << " in " << dtype << ", tp " << tp);
      options.tp = tp;
      Group many(Fixture(name), options);
      CheckSame(expected, many.Generate(starts));
    }
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
