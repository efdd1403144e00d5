// BLOOM: ALiBi, a norm after the embeddings, queries, keys and values side by side for each head;
// transformers' BloomConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"
#include "shard_loader/model/lineages.h"

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
  static const auto& names = *new std::vector<NamePattern>(
      Renamed(BloomNames(),
              {
                  {TensorRole::kEmbeddingNorm, "transformer.word_embeddings_layernorm.weight"},
                  {TensorRole::kEmbeddingNormBias, "transformer.word_embeddings_layernorm.bias"},
              }));
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
