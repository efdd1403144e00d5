// StarCoder 1, SantaCoder: GPT-2 with one KV head; transformers' GPTBigCodeConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 1024;
  defaults.tied = true;
  defaults.activation = "gelu_pytorch_tanh";
  defaults.norm_epsilon = 1e-5;
  defaults.columns_per_hidden = 4;
  defaults.has_rope = false;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  spec.num_position_rows = spec.context_length;
  spec.attention.qkv_bias = true;
  spec.attention.output_bias = true;
  spec.mlp.bias = true;
  spec.mlp.gated = false;
  if (config.Bool("multi_query", true)) spec.attention.num_kv_heads = 1;
  RequireFlag(config, "scale_attn_weights", true, true);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "transformer.wte.weight"},
      {TensorRole::kPositionEmbedding, "transformer.wpe.weight"},
      {TensorRole::kAttentionNorm, "transformer.h.{}.ln_1.weight"},
      {TensorRole::kAttentionNormBias, "transformer.h.{}.ln_1.bias"},
      {TensorRole::kQuery, "transformer.h.{}.attn.c_attn.weight", StoredAs::kGroups},
      {TensorRole::kKey, "transformer.h.{}.attn.c_attn.weight", StoredAs::kGroups},
      {TensorRole::kValue, "transformer.h.{}.attn.c_attn.weight", StoredAs::kGroups},
      {TensorRole::kQueryBias, "transformer.h.{}.attn.c_attn.bias", StoredAs::kGroups},
      {TensorRole::kKeyBias, "transformer.h.{}.attn.c_attn.bias", StoredAs::kGroups},
      {TensorRole::kValueBias, "transformer.h.{}.attn.c_attn.bias", StoredAs::kGroups},
      {TensorRole::kOutput, "transformer.h.{}.attn.c_proj.weight"},
      {TensorRole::kOutputBias, "transformer.h.{}.attn.c_proj.bias"},
      {TensorRole::kMlpNorm, "transformer.h.{}.ln_2.weight"},
      {TensorRole::kMlpNormBias, "transformer.h.{}.ln_2.bias"},
      {TensorRole::kUp, "transformer.h.{}.mlp.c_fc.weight"},
      {TensorRole::kUpBias, "transformer.h.{}.mlp.c_fc.bias"},
      {TensorRole::kDown, "transformer.h.{}.mlp.c_proj.weight"},
      {TensorRole::kDownBias, "transformer.h.{}.mlp.c_proj.bias"},
      {TensorRole::kFinalNorm, "transformer.ln_f.weight"},
      {TensorRole::kFinalNormBias, "transformer.ln_f.bias"},
      {TensorRole::kHead, "lm_head.weight"},
  };
  return names;
}

}  // namespace

const Family& GptBigcodeFamily() {
  static const auto& family =
      *new Family{"gpt_bigcode",
                  {"GPTBigCodeForCausalLM"},
                  Parse,
                  Names,
                  "StarCoder 1, SantaCoder: multi-query or multi-head, learned positions",
                  "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
