// A few families through real workers: experts in both orders, latent attention, rope that the
// deployment's context fixes.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/integration/session/group_harness.h"
#include "tests/support/fixtures.h"

namespace tessera::tests {
namespace {

struct Case {
  const char* name;
  int tp;
  int pp;
  int ep;
  const char* numerics;  // a part of the numerics id
};

// The tokens of the first golden prompts, and the group's numerics id.
void CheckCase(const Case& test) {
  INFO(test.name);
  TempDir runtime;
  const auto checkpoint = shard_loader::Checkpoint::Open(Fixture(test.name)).value();
  server::GroupOptions options = DemoGroup(test.tp, test.pp, runtime.path());
  options.checkpoint = checkpoint.get();
  options.layout.ep = test.ep;
  options.max_model_len = 128;
  Group group(options);
  const auto ready = group.events().Next(std::chrono::seconds(60));
  REQUIRE(ready.has_value());
  REQUIRE(ready->kind == RecordedEvents::Event::Kind::kReady);
  CHECK_THAT(ready->facts.numerics_id, Catch::Contains(test.numerics));
  const nlohmann::json golden = ReadJson(Fixture(test.name) / "golden.json");
  for (int i : {0, 1}) {
    const nlohmann::json& prompt = golden["prompts"][i];
    std::vector<uint32_t> expected = prompt["greedy"]["tokens"];
    expected.resize(8);
    const std::vector<uint32_t> found = group.Complete(ready->epoch, prompt["input_ids"], 8);
    // The harness stops at the ids at which the bundled model would.
    REQUIRE_FALSE(found.empty());
    expected.resize(found.size());
    CHECK(found == expected);
  }
}

TEST_CASE("families answer through worker processes as the reference does") {
  CheckCase({"checkpoints/deepseek_v3", 2, 1, 1, "experts=lanes"});
  CheckCase({"checkpoints/deepseek_v3", 3, 1, 3, "experts=experts"});
  CheckCase({"families/qwen3_moe", 2, 2, 2, "experts=experts"});
  CheckCase({"checkpoints/gpt_oss", 2, 2, 1, "experts=lanes"});
  CheckCase({"families/phi3_longrope", 2, 1, 1, "rope=128"});
  CheckCase({"checkpoints/gpt2", 2, 1, 1, "experts=-"});
}

}  // namespace
}  // namespace tessera::tests
