// Gemma 2: norms before and after each block, soft caps, a window on every other layer;
// transformers' Gemma2Config.
#include <cmath>

#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

// Null turns a cap off, an absent key means the class's default.
float ReadCap(ConfigReader& config, const char* key, double fallback) {
  const double absent = config.Contains(key) ? 0.0 : fallback;
  return static_cast<float>(config.Number(key, NumberBounds{1e-6, 1e6}, absent));
}

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 8192;
  defaults.head_size = 256;
  defaults.tied = true;
  defaults.activation = "gelu_pytorch_tanh";
  ReadCommon(config, defaults, spec);
  spec.norm.one_plus = true;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden_size));
  // `hidden_act` says "gelu" in some files and is not used.
  spec.mlp.activation = ReadActivation(config, "hidden_activation", "gelu_pytorch_tanh");
  spec.post_norm = true;
  const double scalar = config.Number("query_pre_attn_scalar", NumberBounds{1e-6, 1e9}, 256.0);
  spec.attention.scale = static_cast<float>(1.0 / std::sqrt(scalar));
  spec.attention.soft_cap = ReadCap(config, "attn_logit_softcapping", 50.0);
  spec.logit_soft_cap = ReadCap(config, "final_logit_softcapping", 30.0);
  ReadWindowPattern(config, {4096, 2}, spec);
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

const Family& Gemma2Family() {
  static const auto& family =
      *new Family{"gemma2",
                  {"Gemma2ForCausalLM"},
                  Parse,
                  Names,
                  "Gemma 2: norms before and after each block, soft caps, alternating windows, "
                  "query_pre_attn_scalar"};
  return family;
}

}  // namespace tessera::shard_loader
