#include "shard_loader/model/families.h"

#include <set>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/support/fixtures.h"

namespace tessera::shard_loader {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

// The config of a fixture with some fields replaced; null removes one.
Model Parse(const std::string& fixture, const json& changes = json::object()) {
  json config = tests::ReadJson(tests::Fixture("checkpoints/" + fixture + "/config.json"));
  config.merge_patch(changes);
  auto model = ParseConfig(config.dump());
  INFO(model.status().ToString());
  REQUIRE(model.ok());
  return *std::move(model);
}

absl::Status Refused(const std::string& fixture, const json& changes) {
  json config = tests::ReadJson(tests::Fixture("checkpoints/" + fixture + "/config.json"));
  config.merge_patch(changes);
  return ParseConfig(config.dump()).status();
}

void CheckRefused(const std::string& fixture, const json& changes, absl::StatusCode code,
                  const std::string& words) {
  const absl::Status status = Refused(fixture, changes);
  INFO(changes.dump().substr(0, 200));
  CHECK(status.code() == code);
  CHECK_THAT(std::string(status.message()), Contains(words));
}

constexpr auto kDisagree = absl::StatusCode::kFailedPrecondition;
constexpr auto kUnsupported = absl::StatusCode::kUnimplemented;

TEST_CASE("the first Llama has as many KV heads as heads and cuts hidden into heads") {
  const DecoderSpec spec = Parse("llama2_mha").spec;
  CHECK(spec.family == "llama");
  CHECK(spec.architecture == "LlamaForCausalLM");
  CHECK(spec.num_layers == 3);
  CHECK(spec.hidden_size == 64);
  CHECK(spec.vocab_size == 512);
  CHECK(spec.context_length == 512);
  CHECK(spec.norm_epsilon == 1e-6f);
  CHECK(spec.attention.num_heads == 4);
  CHECK(spec.attention.num_kv_heads == 4);
  CHECK(spec.attention.head_size == 16);
  CHECK(spec.attention.scale == 0.25f);
  CHECK(spec.attention.windows == std::vector<int64_t>{0, 0, 0});
  CHECK_FALSE(spec.attention.qkv_bias);
  CHECK(spec.mlp.intermediate_size == 176);
  CHECK(spec.mlp.activation == Activation::kSilu);
  CHECK(spec.rope.theta == 10000.0);
  CHECK(spec.rope.scaling == RopeSpec::Scaling::kNone);
  CHECK_FALSE(spec.tied_embeddings);
}

TEST_CASE("Llama 3 has grouped queries, its own head_dim and several end ids") {
  const Model model = Parse("llama3_gqa");
  CHECK(model.spec.attention.num_kv_heads == 4);
  CHECK(model.spec.attention.head_size == 16);
  CHECK(model.eos_token_ids == std::vector<int64_t>{505, 509, 510});
  CHECK(model.bos_token_id == 504);
}

TEST_CASE("biases of attention and MLP are those that a Llama config asks for") {
  const DecoderSpec spec = Parse("llama_small", {{"attention_bias", true}}).spec;
  CHECK(spec.attention.qkv_bias);
  CHECK(spec.attention.output_bias);
  CHECK_FALSE(spec.mlp.bias);
  CHECK(Parse("llama_small", {{"mlp_bias", true}}).spec.mlp.bias);
}

TEST_CASE(
    "Mistral has its window on every layer, none where it is null, 4,096 where it is absent") {
  CHECK(Parse("mistral").spec.attention.windows == std::vector<int64_t>(4, 16));
  json config = tests::ReadJson(tests::Fixture("checkpoints/mistral/config.json"));
  config["sliding_window"] = nullptr;
  CHECK(ParseConfig(config.dump())->spec.attention.windows == std::vector<int64_t>(4, 0));
  config.erase("sliding_window");
  CHECK(ParseConfig(config.dump())->spec.attention.windows == std::vector<int64_t>(4, 4096));
}

TEST_CASE("Qwen2 has biases on q, k and v only, and no window unless it is turned on") {
  const DecoderSpec spec = Parse("qwen2").spec;
  CHECK(spec.attention.qkv_bias);
  CHECK_FALSE(spec.attention.output_bias);
  CHECK(spec.attention.windows == std::vector<int64_t>(4, 0));
  CHECK(spec.tied_embeddings);
}

TEST_CASE("Qwen2 has its window from max_window_layers on, or where layer_types says") {
  const json on = {{"use_sliding_window", true}, {"sliding_window", 32}, {"max_window_layers", 3}};
  CHECK(Parse("qwen2", on).spec.attention.windows == std::vector<int64_t>{0, 0, 0, 32});
  json by_layer = on;
  by_layer["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention",
                             "full_attention"};
  CHECK(Parse("qwen2", by_layer).spec.attention.windows == std::vector<int64_t>{32, 0, 32, 0});
  CheckRefused("qwen2", {{"layer_types", {"full_attention"}}}, kDisagree, "has 1 entries");
  CheckRefused("qwen2",
               {{"layer_types",
                 {"full_attention", "sliding_attention", "full_attention", "full_attention"}}},
               kDisagree, "use_sliding_window is off");
  by_layer["layer_types"][0] = "chunked_attention";
  CheckRefused("qwen2", by_layer, kUnsupported, "chunked_attention");
}

TEST_CASE("Qwen3 norms q and k, and has a head size that hidden does not give") {
  const DecoderSpec spec = Parse("qwen3").spec;
  CHECK(spec.attention.qk_norm == QkNorm::kPerHead);
  CHECK(spec.attention.head_size == 32);
  CHECK_FALSE(spec.attention.qkv_bias);
  CHECK(Parse("qwen3", {{"attention_bias", true}}).spec.attention.output_bias);
  CHECK(Parse("qwen3", {{"head_dim", nullptr}}).spec.attention.head_size == 128);
}

TEST_CASE("names of tensors are those of the checkpoint") {
  const Model model = Parse("qwen3");
  CHECK(model.ForeignName({-1, TensorRole::kEmbedding}) == "model.embed_tokens.weight");
  CHECK(model.ForeignName({11, TensorRole::kQueryNorm}) ==
        "model.layers.11.self_attn.q_norm.weight");
  CHECK(model.ForeignName({0, TensorRole::kDown}) == "model.layers.0.mlp.down_proj.weight");
  CHECK(model.ForeignName({-1, TensorRole::kHead}) == "lm_head.weight");
}

TEST_CASE("no family gives a role the same name twice") {
  for (const Family* family : Families()) {
    INFO(family->name);
    std::set<std::pair<TensorRole, std::string>> names;
    for (const NamePattern& pattern : family->names()) names.insert({pattern.role, pattern.name});
    CHECK(names.size() == family->names().size());
    CHECK(names.size() >= 10);
  }
}

TEST_CASE("an unknown architecture is refused with the list of those supported") {
  const absl::Status status =
      Refused("llama_small", {{"architectures", {"MambaForCausalLM"}}, {"model_type", "mamba"}});
  CHECK(status.code() == kUnsupported);
  CHECK_THAT(std::string(status.message()),
             Contains("'MambaForCausalLM'") &&
                 Contains("LlamaForCausalLM, MistralForCausalLM, MixtralForCausalLM"));
}

TEST_CASE("without architectures the model type decides, and the two must agree") {
  CHECK(Parse("mistral", {{"architectures", nullptr}}).spec.architecture == "MistralForCausalLM");
  CheckRefused("llama_small", {{"model_type", "mistral"}}, kDisagree, "architectures says");
}

TEST_CASE("quantised weights are refused by the name of the method") {
  CheckRefused("llama_small", {{"quantization_config", {{"quant_method", "gptq"}, {"bits", 4}}}},
               kUnsupported, "'gptq'");
}

TEST_CASE("fields out of bounds or of a wrong type are refused by name") {
  const std::vector<std::pair<json, std::string>> cases = {
      {{{"num_attention_heads", 0}}, "num_attention_heads is 0"},
      {{{"num_attention_heads", 3}, {"num_key_value_heads", 3}}, "no multiple of"},
      {{{"num_key_value_heads", 3}}, "does not divide num_attention_heads 4"},
      {{{"num_hidden_layers", "4"}}, "num_hidden_layers is \"4\", expected an integer"},
      {{{"num_hidden_layers", 2.0}}, "num_hidden_layers is 2.0"},
      {{{"num_hidden_layers", 100000}}, "from 1 to 1024"},
      {{{"hidden_size", nullptr}}, "hidden_size is missing"},
      {{{"vocab_size", 18446744073709551615ull}}, "vocab_size is 18446744073709551615"},
      {{{"head_dim", 7}}, "need an even one"},
      {{{"rms_norm_eps", -1e-5}}, "rms_norm_eps is -1e-05"},
      {{{"tie_word_embeddings", "no"}}, "expected true or false"},
      {{{"eos_token_id", {1, "x"}}}, "eos_token_id is \"x\""},
      {{{"eos_token_id", -7}}, "eos_token_id is -7"},
      {{{"architectures", "LlamaForCausalLM"}}, "no list of strings"},
      {{{"hidden_act", 3}}, "hidden_act is 3, expected a string"},
  };
  for (const auto& [changes, words] : cases) {
    CheckRefused("llama_small", changes, kDisagree, words);
  }
}

TEST_CASE("end ids outside of the vocabulary are left out, for they can never come") {
  CHECK(Parse("llama_small", {{"eos_token_id", {2, 512, -1}}}).eos_token_ids ==
        std::vector<int64_t>{2});
  CHECK(Parse("llama_small", {{"eos_token_id", nullptr}}).eos_token_ids.empty());
}

TEST_CASE("activations are taken by their names in transformers") {
  CHECK(Parse("llama_small", {{"hidden_act", "gelu"}}).spec.mlp.activation == Activation::kGelu);
  CHECK(Parse("llama_small", {{"hidden_act", "gelu_pytorch_tanh"}}).spec.mlp.activation ==
        Activation::kGeluTanh);
}

}  // namespace
}  // namespace tessera::shard_loader
