// GPT-2: learned positions, matrices stored [inputs, outputs]; transformers' GPT2Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 1024;
  defaults.tied = true;
  defaults.activation = "gelu_new";
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
  RequireFlag(config, "scale_attn_weights", true, true);
  RequireFlag(config, "scale_attn_by_inverse_layer_idx", false, false);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "transformer.wte.weight"},
      {TensorRole::kPositionEmbedding, "transformer.wpe.weight"},
      {TensorRole::kAttentionNorm, "transformer.h.{}.ln_1.weight"},
      {TensorRole::kAttentionNormBias, "transformer.h.{}.ln_1.bias"},
      {TensorRole::kQuery, "transformer.h.{}.attn.c_attn.weight", StoredAs::kBlocks, true},
      {TensorRole::kKey, "transformer.h.{}.attn.c_attn.weight", StoredAs::kBlocks, true},
      {TensorRole::kValue, "transformer.h.{}.attn.c_attn.weight", StoredAs::kBlocks, true},
      {TensorRole::kQueryBias, "transformer.h.{}.attn.c_attn.bias", StoredAs::kBlocks},
      {TensorRole::kKeyBias, "transformer.h.{}.attn.c_attn.bias", StoredAs::kBlocks},
      {TensorRole::kValueBias, "transformer.h.{}.attn.c_attn.bias", StoredAs::kBlocks},
      {TensorRole::kOutput, "transformer.h.{}.attn.c_proj.weight", StoredAs::kAlone, true},
      {TensorRole::kOutputBias, "transformer.h.{}.attn.c_proj.bias"},
      {TensorRole::kMlpNorm, "transformer.h.{}.ln_2.weight"},
      {TensorRole::kMlpNormBias, "transformer.h.{}.ln_2.bias"},
      {TensorRole::kUp, "transformer.h.{}.mlp.c_fc.weight", StoredAs::kAlone, true},
      {TensorRole::kUpBias, "transformer.h.{}.mlp.c_fc.bias"},
      {TensorRole::kDown, "transformer.h.{}.mlp.c_proj.weight", StoredAs::kAlone, true},
      {TensorRole::kDownBias, "transformer.h.{}.mlp.c_proj.bias"},
      {TensorRole::kFinalNorm, "transformer.ln_f.weight"},
      {TensorRole::kFinalNormBias, "transformer.ln_f.bias"},
      {TensorRole::kHead, "lm_head.weight"},
  };
  return names;
}

}  // namespace

const Family& Gpt2Family() {
  static const auto& family = *new Family{
      "gpt2",
      {"GPT2LMHeadModel"},
      Parse,
      Names,
      "GPT-2 and its likes: learned positions, LayerNorm, Conv1D weights, tied embeddings",
      "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
