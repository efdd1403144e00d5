// GLM 4 0414: GLM with norms after the blocks too; transformers' Glm4Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 131072;
  defaults.head_size = 128;
  defaults.norm_epsilon = 1.5625e-7;
  defaults.rope.partial = 0.5;
  ReadCommon(config, defaults, spec);
  spec.attention.rope_interleaved = true;
  spec.attention.qkv_bias = config.Bool("attention_bias", true);
  spec.post_norm = true;
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      LlamaNames(),
      {
          {TensorRole::kGate, "model.layers.{}.mlp.gate_up_proj.weight", StoredAs::kBlocks},
          {TensorRole::kUp, "model.layers.{}.mlp.gate_up_proj.weight", StoredAs::kBlocks},
          {TensorRole::kPostAttentionNorm, "model.layers.{}.post_self_attn_layernorm.weight"},
          {TensorRole::kPostMlpNorm, "model.layers.{}.post_mlp_layernorm.weight"},
      }));
  return names;
}

}  // namespace

const Family& Glm4Family() {
  static const auto& family = *new Family{"glm4",
                                          {"Glm4ForCausalLM"},
                                          Parse,
                                          Names,
                                          "GLM 4 0414: as glm, norms before and after each block"};
  return family;
}

}  // namespace tessera::shard_loader
