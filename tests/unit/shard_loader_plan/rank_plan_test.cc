#include "shard_loader/plan/rank_plan.h"

#include <catch2/catch.hpp>

namespace tessera::shard_loader {
namespace {

using Catch::Matchers::Contains;

DecoderSpec Spec(int64_t heads, int64_t kv_heads, int64_t columns, int64_t vocab, int64_t layers) {
  DecoderSpec spec;
  spec.num_layers = layers;
  spec.hidden_size = 64;
  spec.vocab_size = vocab;
  spec.attention.num_heads = heads;
  spec.attention.num_kv_heads = kv_heads;
  spec.attention.head_size = 8;
  spec.attention.windows.assign(layers, 0);
  spec.mlp.intermediate_size = columns;
  return spec;
}

TEST_CASE("one rank holds everything") {
  const auto plans = MakeRankPlans(Spec(8, 4, 512, 32000, 4), {1, 1, 8}).value();
  REQUIRE(plans.size() == 1);
  const RankPlan& plan = plans[0];
  CHECK(plan.layers == Range{0, 4});
  CHECK(plan.heads == Range{0, 8});
  CHECK(plan.kv_heads == Range{0, 4});
  CHECK(plan.mlp_columns == Range{0, 512});
  CHECK(plan.vocab == Range{0, 32000});
  CHECK(plan.has_embedding);
  CHECK(plan.has_head);
}

TEST_CASE("three tensor ranks over eight heads and four KV heads share the middle KV heads") {
  const auto plans = MakeRankPlans(Spec(8, 4, 512, 32000, 4), {3, 1, 8}).value();
  REQUIRE(plans.size() == 3);
  CHECK(plans[0].heads == Range{0, 3});
  CHECK(plans[1].heads == Range{3, 6});
  CHECK(plans[2].heads == Range{6, 8});
  CHECK(plans[0].kv_heads == Range{0, 2});
  CHECK(plans[1].kv_heads == Range{1, 3});
  CHECK(plans[2].kv_heads == Range{3, 4});
  CHECK(plans[0].mlp_columns == Range{0, 192});
  CHECK(plans[2].mlp_columns == Range{384, 512});
  // 32 blocks of 1,024 (the last partial) as 11, 11, 10.
  CHECK(plans[0].vocab == Range{0, 11264});
  CHECK(plans[1].vocab == Range{11264, 22528});
  CHECK(plans[2].vocab == Range{22528, 32000});
}

TEST_CASE("one KV head is repeated on every rank") {
  const auto plans = MakeRankPlans(Spec(8, 1, 512, 512, 4), {4, 1, 8}).value();
  for (const RankPlan& plan : plans) CHECK(plan.kv_heads == Range{0, 1});
}

TEST_CASE("ranks are numbered stage by stage, embedding first and head last") {
  const auto plans = MakeRankPlans(Spec(8, 4, 512, 512, 4), {2, 2, 8}).value();
  REQUIRE(plans.size() == 4);
  CHECK(plans[3].rank == 3);
  CHECK(plans[3].stage == 1);
  CHECK(plans[3].tp_index == 1);
  CHECK(plans[0].has_embedding);
  CHECK_FALSE(plans[0].has_head);
  CHECK_FALSE(plans[2].has_embedding);
  CHECK(plans[2].has_head);
  CHECK(plans[0].layers == plans[1].layers);
  CHECK(plans[0].layers.end == plans[2].layers.begin);
  CHECK(plans[2].layers.end == 4);
  CHECK(plans[1].heads == plans[3].heads);
}

TEST_CASE("a vocabulary that no power of two divides is cut at block borders") {
  CHECK(VocabBlock(509) == 64);
  CHECK(VocabBlock(512) == 64);
  CHECK(VocabBlock(8192) == 1024);
  CHECK(VocabBlock(151936) == 1024);
  CHECK(VocabBlock(5) == 1);
  const auto plans = MakeRankPlans(Spec(8, 2, 512, 509, 2), {3, 1, 8}).value();
  CHECK(plans[0].vocab == Range{0, 192});
  CHECK(plans[1].vocab == Range{192, 384});
  CHECK(plans[2].vocab == Range{384, 509});
}

TEST_CASE("more tensor ranks than lanes are refused with the alternatives") {
  const auto plans = MakeRankPlans(Spec(32, 8, 11008, 32000, 32), {16, 1, 8});
  CHECK(plans.status().code() == absl::StatusCode::kFailedPrecondition);
  const std::string message(plans.status().message());
  CHECK_THAT(message, Contains("at most --tp 8"));
  CHECK_THAT(message, Contains("--tp 8 --pp 2"));
  CHECK_THAT(message, Contains("--dp 2"));
  CHECK_THAT(message, Contains("--lanes 16"));
  CHECK(MakeRankPlans(Spec(32, 8, 11008, 32000, 32), {16, 1, 16}).ok());
}

TEST_CASE("a model with four heads is cut among four ranks at most") {
  const auto plans = MakeRankPlans(Spec(4, 4, 512, 512, 4), {5, 1, 8});
  CHECK(plans.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(plans.status().message()), Contains("4 attention heads are 4 lanes"));
  CHECK_THAT(std::string(plans.status().message()), !Contains("--lanes"));
  CHECK(MakeRankPlans(Spec(4, 4, 512, 512, 4), {4, 1, 8}).ok());
}

TEST_CASE("more stages than layers, degrees of zero and odd lane counts are refused") {
  const DecoderSpec spec = Spec(8, 4, 512, 512, 4);
  for (const Layout& layout : {Layout{1, 5, 8}, Layout{0, 1, 8}, Layout{1, -1, 8}, Layout{1, 1, 0},
                               Layout{1, 1, 12}, Layout{1, 1, 1 << 20}}) {
    CHECK(MakeRankPlans(spec, layout).status().code() == absl::StatusCode::kFailedPrecondition);
  }
}

DecoderSpec Experts(int64_t count, int64_t columns) {
  DecoderSpec spec = Spec(8, 4, 512, 512, 4);
  spec.moe.num_experts = count;
  spec.moe.experts_per_token = 2;
  spec.moe.intermediate_size = columns;
  spec.moe.on_layer.assign(4, true);
  return spec;
}

TEST_CASE("few experts are cut by columns, many are held whole") {
  const auto few = MakeRankPlans(Experts(8, 512), {3, 1, 8}).value();
  CHECK(few[0].expert_order == ExpertOrder::kLanes);
  CHECK(few[1].experts == Range{0, 8});
  CHECK(few[0].expert_columns == Range{0, 192});
  CHECK(few[2].expert_columns == Range{384, 512});
  const auto many = MakeRankPlans(Experts(20, 512), {3, 1, 8}).value();
  CHECK(many[0].expert_order == ExpertOrder::kExperts);
  CHECK(many[0].expert_columns == Range{0, 512});
  // 20 bisected three times: 3 2 3 2 3 2 3 2.
  CHECK(many[0].experts == Range{0, 8});
  CHECK(many[1].experts == Range{8, 15});
  CHECK(many[2].experts == Range{15, 20});
  CHECK(std::string(ExpertOrderName(many[0].expert_order)) == "experts");
}

TEST_CASE("expert parallelism makes few experts whole, and is refused where it does not apply") {
  const auto plans = MakeRankPlans(Experts(8, 512), {.tp = 2, .ep = 2}).value();
  CHECK(plans[0].expert_order == ExpertOrder::kExperts);
  CHECK(plans[1].experts == Range{4, 8});
  CHECK(plans[1].expert_columns == Range{0, 512});
  const auto refused = [](const DecoderSpec& spec, const Layout& layout) {
    const auto made = MakeRankPlans(spec, layout);
    CHECK(made.status().code() == absl::StatusCode::kFailedPrecondition);
    return std::string(made.status().message());
  };
  CHECK_THAT(refused(Spec(8, 4, 512, 512, 4), {.tp = 2, .ep = 2}), Contains("has no experts"));
  CHECK_THAT(refused(Experts(8, 512), {.tp = 4, .ep = 2}), Contains("use --tp 2 --ep 2"));
  CHECK_THAT(refused(Experts(2, 512), {.tp = 3, .ep = 3}),
             Contains("its 2 experts of 512 columns are 2 lanes"));
}

}  // namespace
}  // namespace tessera::shard_loader
