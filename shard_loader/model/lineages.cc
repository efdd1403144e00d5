#include "shard_loader/model/lineages.h"

#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {

void ReadGpt2Block(ConfigReader& config, const char* activation, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 1024;
  defaults.tied = true;
  defaults.activation = activation;
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
}

std::vector<NamePattern> Gpt2Names(StoredAs fused, bool turned) {
  return {
      {TensorRole::kEmbedding, "transformer.wte.weight"},
      {TensorRole::kPositionEmbedding, "transformer.wpe.weight"},
      {TensorRole::kAttentionNorm, "transformer.h.{}.ln_1.weight"},
      {TensorRole::kAttentionNormBias, "transformer.h.{}.ln_1.bias"},
      {TensorRole::kQuery, "transformer.h.{}.attn.c_attn.weight", fused, turned},
      {TensorRole::kKey, "transformer.h.{}.attn.c_attn.weight", fused, turned},
      {TensorRole::kValue, "transformer.h.{}.attn.c_attn.weight", fused, turned},
      {TensorRole::kQueryBias, "transformer.h.{}.attn.c_attn.bias", fused},
      {TensorRole::kKeyBias, "transformer.h.{}.attn.c_attn.bias", fused},
      {TensorRole::kValueBias, "transformer.h.{}.attn.c_attn.bias", fused},
      {TensorRole::kOutput, "transformer.h.{}.attn.c_proj.weight", StoredAs::kAlone, turned},
      {TensorRole::kOutputBias, "transformer.h.{}.attn.c_proj.bias"},
      {TensorRole::kMlpNorm, "transformer.h.{}.ln_2.weight"},
      {TensorRole::kMlpNormBias, "transformer.h.{}.ln_2.bias"},
      {TensorRole::kUp, "transformer.h.{}.mlp.c_fc.weight", StoredAs::kAlone, turned},
      {TensorRole::kUpBias, "transformer.h.{}.mlp.c_fc.bias"},
      {TensorRole::kDown, "transformer.h.{}.mlp.c_proj.weight", StoredAs::kAlone, turned},
      {TensorRole::kDownBias, "transformer.h.{}.mlp.c_proj.bias"},
      {TensorRole::kFinalNorm, "transformer.ln_f.weight"},
      {TensorRole::kFinalNormBias, "transformer.ln_f.bias"},
      {TensorRole::kHead, "lm_head.weight"},
  };
}

void ReadGptjBlock(ConfigReader& config, DecoderSpec& spec) {
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

const std::vector<NamePattern>& GptjNames() {
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

const std::vector<NamePattern>& BloomNames() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "transformer.word_embeddings.weight"},
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

void ReadDeepseekBlock(ConfigReader& config, int64_t context_length, const MoeDefaults& experts,
                       DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = context_length;
  defaults.head_size = 64;  // not read: a head has two parts
  defaults.rope.whole_head_only = true;
  ReadCommon(config, defaults, spec);
  ReadLatentAttention(config, spec);
  ReadMoe(config, experts, spec);
  ReadExpertGroups(config, spec);
  RequireFlag(config, "attention_bias", false, false);
}

const std::vector<NamePattern>& DeepseekNames() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      Renamed(LlamaNames(), MlpExpertNames()),
      {
          {TensorRole::kQueryDown, "model.layers.{}.self_attn.q_a_proj.weight"},
          {TensorRole::kQueryDownNorm, "model.layers.{}.self_attn.q_a_layernorm.weight"},
          {TensorRole::kQuery, "model.layers.{}.self_attn.q_b_proj.weight"},
          {TensorRole::kQuery, "model.layers.{}.self_attn.q_proj.weight"},
          {TensorRole::kLatentDown, "model.layers.{}.self_attn.kv_a_proj_with_mqa.weight",
           StoredAs::kBlocks},
          {TensorRole::kKeyRope, "model.layers.{}.self_attn.kv_a_proj_with_mqa.weight",
           StoredAs::kBlocks},
          {TensorRole::kLatentNorm, "model.layers.{}.self_attn.kv_a_layernorm.weight"},
          {TensorRole::kKey, "model.layers.{}.self_attn.kv_b_proj.weight", StoredAs::kLatentHeads},
          {TensorRole::kValue, "model.layers.{}.self_attn.kv_b_proj.weight",
           StoredAs::kLatentHeads},
      }));
  return names;
}

}  // namespace tessera::shard_loader
