// Configurations in the style of newer files give the model that the older ones give, and what a
// family does not have is refused by name.
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "shard_loader/model/families.h"
#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

std::vector<std::filesystem::path> Configs() {
  std::vector<std::filesystem::path> paths;
  for (const char* parent : {"checkpoints", "families"}) {
    for (const auto& entry : std::filesystem::directory_iterator(tests::Fixture(parent))) {
      paths.push_back(entry.path() / "config.json");
    }
  }
  return paths;
}

DecoderSpec Parse(const json& config) {
  auto model = ParseConfig(config.dump());
  INFO(model.status().ToString());
  REQUIRE(model.ok());
  return model->spec;
}

// Takes a field away from its old place.
json Take(json& config, const char* key) {
  json value = config.contains(key) ? config[key] : json();
  config.erase(key);
  return value;
}

// As transformers 5 writes it: theta, scaling and the rotated part together.
json NewStyle(json config) {
  json rope = Take(config, "rope_scaling");
  if (rope.is_null()) rope = {{"rope_type", "default"}};
  if (rope.contains("type")) rope["rope_type"] = Take(rope, "type");
  for (const char* key : {"rope_theta", "rotary_emb_base"}) {
    const json theta = Take(config, key);
    if (!theta.is_null()) rope["rope_theta"] = theta;
  }
  for (const char* key : {"partial_rotary_factor", "rotary_pct"}) {
    const json part = Take(config, key);
    if (!part.is_null()) rope["partial_rotary_factor"] = part;
  }
  const json local = Take(config, "rope_local_base_freq");
  config["rope_parameters"] = rope;
  if (!local.is_null()) {
    config["rope_parameters"] = {{"full_attention", rope},
                                 {"sliding_attention", {{"rope_theta", local}}}};
  }
  const json dtype = Take(config, "torch_dtype");
  if (!dtype.is_null()) config["dtype"] = dtype;
  return config;
}

TEST_CASE("every family reads its rope from the newer style of configuration") {
  int checked = 0;
  for (const auto& path : Configs()) {
    INFO(path.string());
    const json config = tests::ReadJson(path);
    const DecoderSpec old_spec = Parse(config);
    if (!old_spec.UsesRope(RopeUse::kMain)) continue;
    // OLMo 3's old style has one theta for both kinds of layers, and scaling for one.
    if (old_spec.family == "olmo3") continue;
    const DecoderSpec spec = Parse(NewStyle(config));
    CHECK(spec.rope.theta == old_spec.rope.theta);
    CHECK(spec.rope.scaling == old_spec.rope.scaling);
    CHECK(spec.rope.factor == old_spec.rope.factor);
    CHECK(spec.local_rope.theta == old_spec.local_rope.theta);
    CHECK(spec.attention.rotary() == old_spec.attention.rotary());
    CHECK(spec.context_length == old_spec.context_length);
    ++checked;
  }
  CHECK(checked > 35);
}

TEST_CASE("every family of the list has a checkpoint among the fixtures") {
  std::vector<std::string> found;
  for (const auto& path : Configs()) found.push_back(Parse(tests::ReadJson(path)).family);
  for (const Family* family : Families()) {
    INFO(family->name);
    CHECK(std::find(found.begin(), found.end(), family->name) != found.end());
  }
}

void CheckRefused(const std::string& folder, const json& changes, const std::string& words) {
  json config = tests::ReadJson(tests::Fixture(folder + "/config.json"));
  config.merge_patch(changes);
  const absl::Status status = ParseConfig(config.dump()).status();
  INFO(changes.dump());
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(status.message()), Contains(words));
}

TEST_CASE("what a family's own code allows and this decoder does not have is refused by name") {
  CheckRefused("families/olmo", {{"clip_qkv", 8.0}}, "clip_qkv");
  CheckRefused("checkpoints/mpt", {{"attn_config", {{"alibi", false}}}}, "attn_config.alibi");
  CheckRefused("checkpoints/mpt", {{"attn_config", {{"clip_qkv", 6}}}}, "attn_config.clip_qkv");
  CheckRefused("checkpoints/mpt", {{"no_bias", false}}, "no_bias");
  CheckRefused("checkpoints/gpt2", {{"scale_attn_by_inverse_layer_idx", true}},
               "scale_attn_by_inverse_layer_idx");
  CheckRefused("checkpoints/bloom", {{"apply_residual_connection_post_layernorm", true}},
               "apply_residual_connection_post_layernorm");
  CheckRefused("families/deepseek_v2", {{"norm_topk_prob", true}}, "norm_topk_prob");
  CheckRefused("families/deepseek_v2", {{"topk_method", "noaux_tc"}}, "topk_method");
  CheckRefused("families/exaone4", {{"layer_types", nullptr}, {"sliding_window_pattern", "LGL"}},
               "sliding_window_pattern");
}

TEST_CASE("an architecture that is not there is refused with the list of those that are") {
  const absl::Status status =
      ParseConfig(R"({"architectures": ["RwkvForCausalLM"], "model_type": "rwkv"})").status();
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(status.message()), Contains("'RwkvForCausalLM' is not supported") &&
                                                Contains("LlamaForCausalLM") &&
                                                Contains("Starcoder2ForCausalLM"));
}

}  // namespace
}  // namespace tessera::shard_loader
