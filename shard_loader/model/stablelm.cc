// StableLM: LayerNorm, rope on a quarter of each head; transformers' StableLmConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 4096;
  defaults.norm_epsilon = 1e-5;
  defaults.rope.partial = 0.25;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  spec.attention.qkv_bias = config.Bool("use_qkv_bias", false);
  if (config.Bool("use_parallel_residual", false)) spec.residual = Residual::kParallelOneNorm;
  if (config.Bool("qk_layernorm", false)) {
    spec.attention.qk_norm = QkNorm::kOwnPerHead;
    spec.attention.qk_norm_kind = NormKind::kLayer;
  }
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      Renamed(LlamaNames(), LlamaNormBiases()),
      {
          {TensorRole::kQueryNorm, "model.layers.{}.self_attn.q_layernorm.norms.{h}.weight"},
          {TensorRole::kKeyNorm, "model.layers.{}.self_attn.k_layernorm.norms.{h}.weight"},
      }));
  return names;
}

}  // namespace

const Family& StablelmFamily() {
  static const auto& family =
      *new Family{"stablelm",
                  {"StableLmForCausalLM"},
                  Parse,
                  Names,
                  "StableLM 3B, 2 1.6B, 2 12B: LayerNorm, partial rope, q, k, v biases, parallel "
                  "residual, q and k norms by head"};
  return family;
}

}  // namespace tessera::shard_loader
