// GPT-OSS: attention sinks, a window on every other layer, experts with biases and clamped SwiGLU;
// transformers' GptOssConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 131072;
  defaults.head_size = 64;
  defaults.norm_epsilon = 1e-5;
  defaults.rope.theta = 150000.0;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", true);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.attention.sinks = true;
  ReadWindowPattern(config, {128, 2}, spec);
  ReadMoe(config, {.renormalise = true, .experts_per_token = 4, .own_columns = false}, spec);
  spec.moe.router_bias = true;
  spec.moe.bias = true;
  spec.mlp.activation = Activation::kClampedSwiglu;
  spec.mlp.activation_limit =
      static_cast<float>(config.Number("swiglu_limit", NumberBounds{1e-3, 1e6}, 7.0));
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      LlamaNames(), {
                        {TensorRole::kSinks, "model.layers.{}.self_attn.sinks"},
                        {TensorRole::kRouter, "model.layers.{}.mlp.router.weight"},
                        {TensorRole::kRouterBias, "model.layers.{}.mlp.router.bias"},
                        {TensorRole::kExpertGate, "model.layers.{}.mlp.experts.gate_up_proj",
                         StoredAs::kPairs, true},
                        {TensorRole::kExpertUp, "model.layers.{}.mlp.experts.gate_up_proj",
                         StoredAs::kPairs, true},
                        {TensorRole::kExpertGateBias,
                         "model.layers.{}.mlp.experts.gate_up_proj_bias", StoredAs::kPairs},
                        {TensorRole::kExpertUpBias, "model.layers.{}.mlp.experts.gate_up_proj_bias",
                         StoredAs::kPairs},
                        {TensorRole::kExpertDown, "model.layers.{}.mlp.experts.down_proj",
                         StoredAs::kAlone, true},
                        {TensorRole::kExpertDownBias, "model.layers.{}.mlp.experts.down_proj_bias"},
                    }));
  return names;
}

}  // namespace

const Family& GptOssFamily() {
  static const auto& family = *new Family{
      "gpt_oss",
      {"GptOssForCausalLM"},
      Parse,
      Names,
      "GPT-OSS: attention sinks, alternating windows, yarn, biased experts with clamped "
      "SwiGLU (in 16 or 32 bits, or MXFP4)"};
  return family;
}

}  // namespace tessera::shard_loader
