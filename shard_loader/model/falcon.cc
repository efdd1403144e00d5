// Falcon: queries, keys and values by group in one matrix, attention and MLP beside each other;
// transformers' FalconConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"
#include "shard_loader/model/lineages.h"

namespace tessera::shard_loader {
namespace {

// One KV head for all, one for each, or groups: by two flags and the newer architecture's number.
int64_t KvHeads(ConfigReader& config, bool newer, int64_t num_heads) {
  if (newer)
    return config.Integer(config.Key({"num_kv_heads", "n_head_kv"}), kHeadBounds, num_heads);
  return config.Bool("multi_query", true) ? 1 : num_heads;
}

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.tied = true;
  defaults.activation = "gelu";
  defaults.norm_epsilon = 1e-5;
  defaults.columns_per_hidden = 4;
  defaults.has_rope = !config.Bool("alibi", false);
  ReadCommon(config, defaults, spec);
  spec.mlp.activation = ReadActivation(config, "activation", "gelu");
  spec.norm = LayerNormSpec(true);
  spec.mlp.gated = false;
  const bool newer = config.Bool("new_decoder_architecture", false);
  spec.attention.num_kv_heads = KvHeads(config, newer, spec.attention.num_heads);
  if (spec.attention.num_heads % spec.attention.num_kv_heads != 0) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "num_kv_heads",
                "does not divide num_attention_heads");
    spec.attention.num_kv_heads = 1;
  }
  const bool two_norms = config.Integer("num_ln_in_parallel_attn", {1, 2}, newer ? 2 : 1) == 2;
  if (newer || config.Bool("parallel_attn", true)) {
    spec.residual = newer && two_norms ? Residual::kParallel : Residual::kParallelOneNorm;
  }
  const bool bias = config.Bool("bias", false);
  spec.attention.qkv_bias = bias;
  spec.attention.output_bias = bias;
  spec.mlp.bias = bias;
  spec.attention.alibi = !defaults.has_rope;
  // The slopes are added before the scores are scaled.
  spec.attention.alibi_scale = spec.attention.scale;
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(
      Renamed(BloomNames(),
              {
                  {TensorRole::kAttentionNorm, "transformer.h.{}.ln_attn.weight"},
                  {TensorRole::kAttentionNormBias, "transformer.h.{}.ln_attn.bias"},
                  {TensorRole::kAttentionNorm, "transformer.h.{}.input_layernorm.weight"},
                  {TensorRole::kAttentionNormBias, "transformer.h.{}.input_layernorm.bias"},
                  {TensorRole::kMlpNorm, "transformer.h.{}.ln_mlp.weight"},
                  {TensorRole::kMlpNormBias, "transformer.h.{}.ln_mlp.bias"},
                  {TensorRole::kMlpNorm, "transformer.h.{}.post_attention_layernorm.weight"},
                  {TensorRole::kMlpNormBias, "transformer.h.{}.post_attention_layernorm.bias"},
              }));
  return names;
}

}  // namespace

const Family& FalconFamily() {
  static const auto& family = *new Family{
      "falcon",
      {"FalconForCausalLM"},
      Parse,
      Names,
      "Falcon 7B, 40B, 180B, RW: multi-query and grouped fused q k v, one or two norms, "
      "ALiBi or rope, parallel or sequential residual",
      "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
