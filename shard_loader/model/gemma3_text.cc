// Gemma 3 (text): q and k norms, windows with a rope of their own; transformers' Gemma3TextConfig.
#include <cmath>

#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 131072;
  defaults.head_size = 256;
  defaults.tied = true;
  defaults.activation = "gelu_pytorch_tanh";
  defaults.rope.theta = 1e6;
  ReadCommon(config, defaults, spec);
  spec.norm.one_plus = true;
  spec.post_norm = true;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden_size));
  spec.attention.qk_norm = QkNorm::kPerHead;
  // Linear scaling has made these positions already.
  spec.context_length =
      config.Integer("max_position_embeddings", kContextBounds, defaults.context_length);
  const double scalar = config.Number("query_pre_attn_scalar", NumberBounds{1e-6, 1e9}, 256.0);
  spec.attention.scale = static_cast<float>(1.0 / std::sqrt(scalar));
  spec.attention.soft_cap =
      static_cast<float>(config.Number("attn_logit_softcapping", NumberBounds{1e-6, 1e6}, 0.0));
  spec.logit_soft_cap =
      static_cast<float>(config.Number("final_logit_softcapping", NumberBounds{1e-6, 1e6}, 0.0));
  ReadWindowPattern(config, {4096, 6}, spec);
  if (!config.Has("rope_parameters")) {
    spec.local_rope.theta = config.Number("rope_local_base_freq", NumberBounds{1.0, 1e15}, 10000.0);
  }
  RotateWindowsByLocalRope(spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      LlamaNames(),
      {
          {TensorRole::kPostAttentionNorm, "model.layers.{}.post_attention_layernorm.weight"},
          {TensorRole::kMlpNorm, "model.layers.{}.pre_feedforward_layernorm.weight"},
          {TensorRole::kPostMlpNorm, "model.layers.{}.post_feedforward_layernorm.weight"},
      }));
  return names;
}

}  // namespace

const Family& Gemma3TextFamily() {
  static const auto& family = *new Family{
      "gemma3_text",
      {"Gemma3ForCausalLM"},
      Parse,
      Names,
      "Gemma 3 (text): q and k norms, norms before and after each block, local and global "
      "rope, window pattern or layer_types"};
  return family;
}

}  // namespace tessera::shard_loader
