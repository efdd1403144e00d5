#include "shard_loader/load/describe.h"

#include <catch2/catch.hpp>

#include "shard_loader/load/load_shard.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

using Catch::Matchers::Contains;

std::unique_ptr<Checkpoint> OpenFixture(const std::string& name) {
  return Checkpoint::Open(tests::Fixture("checkpoints/" + name)).value();
}

TEST_CASE("inspect tells family, sizes, and our name of every tensor") {
  const auto checkpoint = OpenFixture("llama3_gqa");
  const nlohmann::json report = InspectJson(*checkpoint);
  CHECK(report["family"] == "llama");
  CHECK(report["architecture"] == "LlamaForCausalLM");
  CHECK(report["dtype"] == "f32");
  CHECK(report["parameters"] == 262720);
  CHECK(report["bytes"] == 1050880);
  CHECK(report["spec"]["rope"]["scaling"] == "llama3");
  CHECK(report["files"].size() == 4);
  CHECK(report["tensors"].size() == 4 * 9 + 3);
  CHECK(report["tensors"][1]["name"] == "model.layers.0.input_layernorm.weight");
  CHECK(report["tensors"][1]["ours"] == "layers.0.attention_norm");
  const std::string text = InspectText(*checkpoint);
  CHECK_THAT(text, Contains("llama (LlamaForCausalLM)") && Contains("f32 1.00 MiB in 4 files"));
  CHECK_THAT(text, Contains("model.layers.{0..3}.mlp.down_proj.weight"));
  CHECK_THAT(text, Contains("8 heads, 4 KV heads, head size 16"));
}

TEST_CASE("inspect tells windows, norms and tied embeddings") {
  CHECK_THAT(InspectText(*OpenFixture("mistral")), Contains("window of 16 on every layer"));
  CHECK_THAT(InspectText(*OpenFixture("qwen3")),
             Contains("q and k norms") && Contains("tied embeddings") && Contains("bf16"));
  CHECK_THAT(InspectText(*OpenFixture("llama_vocab509")), Contains("linear scaling by 2"));
}

TEST_CASE("plan tells what each rank holds, and that it reads what LoadShard reads") {
  const auto checkpoint = OpenFixture("llama3_gqa");
  const nlohmann::json report = PlanJson(*checkpoint, {.layout = {3, 2, 8}}).value();
  const auto plans = MakeRankPlans(checkpoint->spec(), {3, 2, 8}).value();
  REQUIRE(report["ranks"].size() == 6);
  for (const RankPlan& plan : plans) {
    const nlohmann::json& rank = report["ranks"][plan.rank];
    CHECK(rank["heads"]["begin"] == plan.heads.begin);
    CHECK(rank["layers"]["end"] == plan.layers.end);
    const LoadStats stats =
        LoadShard(*checkpoint, plan, [](const HostTensor&) { return absl::OkStatus(); }).value();
    CHECK(rank["bytes_read"] == stats.bytes_read);
  }
  CHECK_FALSE(report.contains("memory"));
  CHECK_THAT(PlanText(*checkpoint, {.layout = {3, 2, 8}}).value(),
             Contains("tp 3, pp 2, 8 attention lanes"));
}

TEST_CASE("plan tells the room for evicted blocks, and whether it is memory") {
  const auto checkpoint = OpenFixture("qwen3");
  PlanRequest request{.layout = {2, 1, 8},
                      .memory = true,
                      .offload_bytes = 1 << 20,
                      .available_bytes = int64_t{1} << 30};
  const nlohmann::json memory = PlanJson(*checkpoint, request).value();
  const int64_t slots = memory["memory"]["num_kv_slots"];
  const int64_t block = memory["ranks"][0]["memory"]["kv_per_block"];
  CHECK(slots == (1 << 20) / block);
  CHECK(memory["ranks"][1]["memory"]["kv_offload"] == slots * block);
  CHECK_FALSE(memory["memory"]["kv_offload_to_file"].get<bool>());
  CHECK_THAT(PlanText(*checkpoint, request).value(),
             Contains("KV offload: " + std::to_string(slots) + " blocks outside the cache") &&
                 Contains("of the host's memory"));
  request.offload_to_file = true;
  const nlohmann::json file = PlanJson(*checkpoint, request).value();
  CHECK(file["ranks"][1]["memory"]["kv_offload"] == slots * block);
  CHECK(file["memory"]["needed_bytes"] < memory["memory"]["needed_bytes"]);
  CHECK_THAT(PlanText(*checkpoint, request).value(), Contains(" in a file"));
  request.offload_bytes = 0;
  CHECK_FALSE(PlanJson(*checkpoint, request).value()["memory"].contains("num_kv_slots"));
}

TEST_CASE("plan with memory tells whether it fits, and why not") {
  const auto checkpoint = OpenFixture("qwen3");
  PlanRequest request{.layout = {2, 1, 8}, .memory = true, .available_bytes = int64_t{1} << 30};
  const nlohmann::json fits = PlanJson(*checkpoint, request).value();
  CHECK(fits["fits"] == true);
  CHECK(fits["weight_dtype"] == "bf16");
  CHECK(fits["memory"]["kv_dtype"] == "bf16");
  int64_t sum = 0;
  for (const auto& rank : fits["ranks"]) sum += rank["memory"]["total"].get<int64_t>();
  CHECK(fits["memory"]["needed_bytes"] == sum);
  CHECK_THAT(PlanText(*checkpoint, request).value(),
             Contains("fits: needs") && Contains("of 1.00 GiB on this host\n"));
  request.replicas = 2;
  CHECK(PlanJson(*checkpoint, request).value()["dp"] == 2);
  CHECK_THAT(PlanText(*checkpoint, request).value(),
             Contains("of 512.00 MiB on this host, for each of 2 replicas\n"));
  request.replicas = 1;
  request.available_bytes = 1 << 20;
  const nlohmann::json refused = PlanJson(*checkpoint, request).value();
  CHECK(refused["fits"] == false);
  CHECK_THAT(refused["why"].get<std::string>(), Contains("does not fit"));
  CHECK_THAT(PlanText(*checkpoint, request).value(), Contains("does not fit: "));
}

TEST_CASE("a dtype that is asked for changes what is held, not what is read") {
  const auto checkpoint = OpenFixture("qwen3");
  const auto stored = PlanJson(*checkpoint, {}).value();
  const auto wide = PlanJson(*checkpoint, {.weight_dtype = DType::kF32}).value();
  CHECK(stored["ranks"][0]["bytes_read"] == wide["ranks"][0]["bytes_read"]);
  CHECK(wide["ranks"][0]["bytes_held"] > stored["ranks"][0]["bytes_held"]);
}

TEST_CASE("impossible degrees and lengths are errors, not reports") {
  const auto checkpoint = OpenFixture("qwen3");
  CHECK(PlanJson(*checkpoint, {.layout = {5, 1, 8}}).status().code() ==
        absl::StatusCode::kFailedPrecondition);
  CHECK_FALSE(PlanJson(*checkpoint, {.memory = true, .max_model_len = 513}).ok());
  CHECK_FALSE(PlanJson(*checkpoint, {.memory = true, .max_model_len = -1}).ok());
}

TEST_CASE("inspect and plan tell experts, latents and positions") {
  const auto deepseek = OpenFixture("deepseek_v3");
  CHECK_THAT(InspectText(*deepseek),
             Contains("2 of 8 experts of 32 columns on 2 layers, 32 shared") &&
                 Contains("yarn scaling by 40"));
  CHECK(InspectJson(*deepseek)["spec"]["latent"]["query_rank"] == 48);
  const nlohmann::json lanes = PlanJson(*deepseek, {.layout = {2, 1, 8}}).value();
  CHECK(lanes["expert_order"] == "lanes");
  CHECK(lanes["ranks"][1]["expert_columns"]["begin"] == 16);
  const PlanRequest whole{.layout = {.tp = 2, .ep = 2}};
  CHECK(PlanJson(*deepseek, whole).value()["ranks"][1]["experts"]["begin"] == 4);
  CHECK_THAT(PlanText(*deepseek, whole).value(), Contains("in the order 'experts'"));
  CHECK_THAT(InspectText(*OpenFixture("gpt2")), Contains("learned") && Contains("not gated"));
  CHECK_THAT(InspectText(*OpenFixture("mpt")), Contains("ALiBi"));
}

}  // namespace
}  // namespace tessera::shard_loader
