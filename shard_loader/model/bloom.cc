// BLOOM: ALiBi, a norm after the embeddings, queries, keys and values side by side for each head;
// transformers' BloomConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.tied = true;
  defaults.activation = "gelu_new";
  defaults.norm_epsilon = 1e-5;
  defaults.columns_per_hidden = 4;
  defaults.has_rope = false;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  spec.embedding_norm = true;
  spec.attention.alibi = true;
  spec.attention.qkv_bias = true;
  spec.attention.output_bias = true;
  spec.mlp.bias = true;
  spec.mlp.gated = false;
  RequireFlag(config, "apply_residual_connection_post_layernorm", false, false);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "transformer.word_embeddings.weight"},
      {TensorRole::kEmbeddingNorm, "transformer.word_embeddings_layernorm.weight"},
      {TensorRole::kEmbeddingNormBias, "transformer.word_embeddings_layernorm.bias"},
      {TensorRole::kAttentionNorm, "transformer.h.{}.input_layernorm.weight"},
      {TensorRole::kAttentionNormBias, "transformer.h.{}.input_layernorm.bias"},
      {TensorRole::kQuery, "transformer.h.{}.self_attention.query_key_value.weight",
       StoredAs::kGroups},
      {TensorRole::kKey, "transformer.h.{}.self_attention.query_key_value.weight",
       StoredAs::kGroups},
      {TensorRole::kValue, "transformer.h.{}.self_attention.query_key_value.weight",
       StoredAs::kGroups},
      {TensorRole::kQueryBias, "transformer.h.{}.self_attention.query_key_value.bias",
       StoredAs::kGroups},
      {TensorRole::kKeyBias, "transformer.h.{}.self_attention.query_key_value.bias",
       StoredAs::kGroups},
      {TensorRole::kValueBias, "transformer.h.{}.self_attention.query_key_value.bias",
       StoredAs::kGroups},
      {TensorRole::kOutput, "transformer.h.{}.self_attention.dense.weight"},
      {TensorRole::kOutputBias, "transformer.h.{}.self_attention.dense.bias"},
      {TensorRole::kMlpNorm, "transformer.h.{}.post_attention_layernorm.weight"},
      {TensorRole::kMlpNormBias, "transformer.h.{}.post_attention_layernorm.bias"},
      {TensorRole::kUp, "transformer.h.{}.mlp.dense_h_to_4h.weight"},
      {TensorRole::kUpBias, "transformer.h.{}.mlp.dense_h_to_4h.bias"},
      {TensorRole::kDown, "transformer.h.{}.mlp.dense_4h_to_h.weight"},
      {TensorRole::kDownBias, "transformer.h.{}.mlp.dense_4h_to_h.bias"},
      {TensorRole::kFinalNorm, "transformer.ln_f.weight"},
      {TensorRole::kFinalNormBias, "transformer.ln_f.bias"},
      {TensorRole::kHead, "lm_head.weight"},
  };
  return names;
}

}  // namespace

const Family& BloomFamily() {
  static const auto& family =
      *new Family{"bloom",
                  {"BloomForCausalLM"},
                  Parse,
                  Names,
                  "BLOOM: ALiBi, norm after the embeddings, fused q k v by head, tied embeddings",
                  "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
