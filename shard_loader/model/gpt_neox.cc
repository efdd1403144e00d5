// GPT-NeoX, Pythia, Dolly: two norms side by side, partial rope, queries, keys and values by head
// in one matrix; transformers' GPTNeoXConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.activation = "gelu";
  defaults.norm_epsilon = 1e-5;
  defaults.rope.partial = 0.25;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  if (config.Bool("use_parallel_residual", true)) spec.residual = Residual::kParallel;
  const bool attention_bias = config.Bool("attention_bias", true);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.mlp.bias = true;
  spec.mlp.gated = false;
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "gpt_neox.embed_in.weight"},
      {TensorRole::kAttentionNorm, "gpt_neox.layers.{}.input_layernorm.weight"},
      {TensorRole::kAttentionNormBias, "gpt_neox.layers.{}.input_layernorm.bias"},
      {TensorRole::kQuery, "gpt_neox.layers.{}.attention.query_key_value.weight",
       StoredAs::kGroups},
      {TensorRole::kKey, "gpt_neox.layers.{}.attention.query_key_value.weight", StoredAs::kGroups},
      {TensorRole::kValue, "gpt_neox.layers.{}.attention.query_key_value.weight",
       StoredAs::kGroups},
      {TensorRole::kQueryBias, "gpt_neox.layers.{}.attention.query_key_value.bias",
       StoredAs::kGroups},
      {TensorRole::kKeyBias, "gpt_neox.layers.{}.attention.query_key_value.bias",
       StoredAs::kGroups},
      {TensorRole::kValueBias, "gpt_neox.layers.{}.attention.query_key_value.bias",
       StoredAs::kGroups},
      {TensorRole::kOutput, "gpt_neox.layers.{}.attention.dense.weight"},
      {TensorRole::kOutputBias, "gpt_neox.layers.{}.attention.dense.bias"},
      {TensorRole::kMlpNorm, "gpt_neox.layers.{}.post_attention_layernorm.weight"},
      {TensorRole::kMlpNormBias, "gpt_neox.layers.{}.post_attention_layernorm.bias"},
      {TensorRole::kUp, "gpt_neox.layers.{}.mlp.dense_h_to_4h.weight"},
      {TensorRole::kUpBias, "gpt_neox.layers.{}.mlp.dense_h_to_4h.bias"},
      {TensorRole::kDown, "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight"},
      {TensorRole::kDownBias, "gpt_neox.layers.{}.mlp.dense_4h_to_h.bias"},
      {TensorRole::kFinalNorm, "gpt_neox.final_layer_norm.weight"},
      {TensorRole::kFinalNormBias, "gpt_neox.final_layer_norm.bias"},
      {TensorRole::kHead, "embed_out.weight"},
  };
  return names;
}

}  // namespace

const Family& GptNeoxFamily() {
  static const auto& family = *new Family{
      "gpt_neox",
      {"GPTNeoXForCausalLM"},
      Parse,
      Names,
      "GPT-NeoX, Pythia, Dolly 2: parallel or sequential residual, partial rope, fused q k "
      "v by head",
      "gpt_neox."};
  return family;
}

}  // namespace tessera::shard_loader
