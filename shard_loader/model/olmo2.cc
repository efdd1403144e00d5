// OLMo 2: norms after the blocks only, q and k norms over all heads; transformers' Olmo2Config.
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

const Family& Olmo2Family() {
  static const auto& family =
      *new Family{"olmo2",
                  {"Olmo2ForCausalLM"},
                  Parse,
                  Names,
                  "OLMo 2: norms after the blocks, q and k norms over all heads"};
  return family;
}

}  // namespace tessera::shard_loader
