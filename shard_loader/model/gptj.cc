// GPT-J: attention and MLP beside each other after one norm, interleaved rope on a part of each
// head; transformers' GPTJConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.activation = "gelu_new";
  defaults.norm_epsilon = 1e-5;
  defaults.columns_per_hidden = 4;
  defaults.rope.whole_head_only = true;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  spec.residual = Residual::kParallelOneNorm;
  spec.mlp.gated = false;
  spec.mlp.bias = true;
  spec.head_bias = true;
  ReadRotaryDim(config, spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "transformer.wte.weight"},
      {TensorRole::kAttentionNorm, "transformer.h.{}.ln_1.weight"},
      {TensorRole::kAttentionNormBias, "transformer.h.{}.ln_1.bias"},
      {TensorRole::kQuery, "transformer.h.{}.attn.q_proj.weight"},
      {TensorRole::kKey, "transformer.h.{}.attn.k_proj.weight"},
      {TensorRole::kValue, "transformer.h.{}.attn.v_proj.weight"},
      {TensorRole::kOutput, "transformer.h.{}.attn.out_proj.weight"},
      {TensorRole::kUp, "transformer.h.{}.mlp.fc_in.weight"},
      {TensorRole::kUpBias, "transformer.h.{}.mlp.fc_in.bias"},
      {TensorRole::kDown, "transformer.h.{}.mlp.fc_out.weight"},
      {TensorRole::kDownBias, "transformer.h.{}.mlp.fc_out.bias"},
      {TensorRole::kFinalNorm, "transformer.ln_f.weight"},
      {TensorRole::kFinalNormBias, "transformer.ln_f.bias"},
      {TensorRole::kHead, "lm_head.weight"},
      {TensorRole::kHeadBias, "lm_head.bias"},
  };
  return names;
}

}  // namespace

const Family& GptjFamily() {
  static const auto& family = *new Family{
      "gptj",
      {"GPTJForCausalLM"},
      Parse,
      Names,
      "GPT-J: parallel residual with one norm, partial interleaved rope, head with bias",
      "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
