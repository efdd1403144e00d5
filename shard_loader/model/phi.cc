// Phi 1, 1.5, 2: attention and MLP beside each other after one norm, biases everywhere;
// transformers' PhiConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.activation = "gelu_new";
  defaults.norm_epsilon = 1e-5;
  defaults.rope.partial = 0.5;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  spec.residual = Residual::kParallelOneNorm;
  spec.mlp.gated = false;
  spec.attention.qkv_bias = true;
  spec.attention.output_bias = true;
  spec.mlp.bias = true;
  spec.head_bias = true;
  if (config.Bool("qk_layernorm", false)) {
    spec.attention.qk_norm = QkNorm::kPerHead;
    spec.attention.qk_norm_kind = NormKind::kLayer;
    spec.attention.qk_norm_bias = true;
  }
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(
      Renamed(Renamed(LlamaNames(), LlamaNormBiases()),
              {
                  {TensorRole::kOutput, "model.layers.{}.self_attn.dense.weight"},
                  {TensorRole::kOutputBias, "model.layers.{}.self_attn.dense.bias"},
                  {TensorRole::kUp, "model.layers.{}.mlp.fc1.weight"},
                  {TensorRole::kUpBias, "model.layers.{}.mlp.fc1.bias"},
                  {TensorRole::kDown, "model.layers.{}.mlp.fc2.weight"},
                  {TensorRole::kDownBias, "model.layers.{}.mlp.fc2.bias"},
                  {TensorRole::kQueryNorm, "model.layers.{}.self_attn.q_layernorm.weight"},
                  {TensorRole::kQueryNormBias, "model.layers.{}.self_attn.q_layernorm.bias"},
                  {TensorRole::kKeyNorm, "model.layers.{}.self_attn.k_layernorm.weight"},
                  {TensorRole::kKeyNormBias, "model.layers.{}.self_attn.k_layernorm.bias"},
                  {TensorRole::kFinalNorm, "model.final_layernorm.weight"},
                  {TensorRole::kFinalNormBias, "model.final_layernorm.bias"},
                  {TensorRole::kHeadBias, "lm_head.bias"},
              }));
  return names;
}

}  // namespace

const Family& PhiFamily() {
  static const auto& family = *new Family{
      "phi",
      {"PhiForCausalLM"},
      Parse,
      Names,
      "Phi 1, 1.5, 2: parallel residual with one norm, partial rope, head with bias, q and "
      "k norms",
      "model."};
  return family;
}

}  // namespace tessera::shard_loader
