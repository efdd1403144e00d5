#include "worker/sim/latency_model.h"

#include <catch2/catch.hpp>
#include <vector>

namespace tessera::worker {
namespace {

const LatencyModel kModel = {.fixed_us = 1000, .token_us = 10, .kv_gbps = 2};

TEST_CASE("a stage takes its share of the fixed and of the tokens' time") {
  const StageShare whole = {.layers = 1, .tp = 1, .kv_bytes_per_token = 0};
  CHECK(StageTime(kModel, whole, {.tokens = 0, .kv_tokens = 0}) == absl::Milliseconds(1));
  CHECK(StageTime(kModel, whole, {.tokens = 50, .kv_tokens = 0}) == absl::Microseconds(1500));
  const StageShare quarter = {.layers = 0.25, .tp = 1, .kv_bytes_per_token = 0};
  CHECK(StageTime(kModel, quarter, {.tokens = 50, .kv_tokens = 0}) == absl::Microseconds(375));
}

TEST_CASE("tensor-parallel ranks share the tokens' time but not the fixed one") {
  const StageShare shared = {.layers = 1, .tp = 5, .kv_bytes_per_token = 0};
  CHECK(StageTime(kModel, shared, {.tokens = 50, .kv_tokens = 0}) == absl::Microseconds(1100));
}

TEST_CASE("keys and values are read at the given rate") {
  const StageShare share = {.layers = 0, .tp = 1, .kv_bytes_per_token = 4000};
  // 4 MB at 2 GB/s.
  CHECK(StageTime(kModel, share, {.tokens = 1, .kv_tokens = 1000}) == absl::Milliseconds(2));
}

TEST_CASE("shares follow the plan: layers by stage, the KV bytes of a rank's heads") {
  shard_loader::DecoderSpec spec;
  spec.num_layers = 4;
  spec.hidden_size = 64;
  spec.vocab_size = 64;
  spec.context_length = 128;
  spec.attention = {.num_heads = 4, .num_kv_heads = 2, .head_size = 16};
  spec.attention.windows.assign(4, 0);
  spec.mlp.intermediate_size = 128;
  auto plans = shard_loader::MakeRankPlans(spec, {.tp = 2, .pp = 2, .lanes = 4});
  REQUIRE(plans.ok());
  // 2 layers x (key and value) x 1 KV head x 16 elements x 2 bytes.
  const StageShare stage = {.layers = 0.5, .tp = 2, .kv_bytes_per_token = 128};
  CHECK(StageShares(spec, *plans, shard_loader::DType::kBF16) ==
        std::vector<StageShare>{stage, stage});
}

}  // namespace
}  // namespace tessera::worker
