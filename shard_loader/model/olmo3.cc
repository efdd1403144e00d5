// OLMo 3: OLMo 2 with windows, and rope scaling on the other layers alone; transformers'
// Olmo3Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.norm_epsilon = 1e-5;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.pre_norm = false;
  spec.post_norm = true;
  spec.attention.qk_norm = QkNorm::kAllHeads;
  ReadWindowPattern(config, {4096, 4}, spec);
  if (!config.Has("rope_parameters")) spec.local_rope.theta = spec.rope.theta;
  RotateWindowsByLocalRope(spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      LlamaNames(),
      {
          {TensorRole::kPostAttentionNorm, "model.layers.{}.post_attention_layernorm.weight"},
          {TensorRole::kPostMlpNorm, "model.layers.{}.post_feedforward_layernorm.weight"},
      }));
  return names;
}

}  // namespace

const Family& Olmo3Family() {
  static const auto& family = *new Family{
      "olmo3",
      {"Olmo3ForCausalLM"},
      Parse,
      Names,
      "OLMo 3: as olmo2, windows by pattern or layer_types, rope scaling on full attention "
      "alone"};
  return family;
}

}  // namespace tessera::shard_loader
