// MPT: ALiBi, no biases; transformers' MptConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

// What MPT's own code allows and transformers' does not run.
void CheckAttention(ConfigReader& config, ConfigReader& attention) {
  RequireFlag(attention, "alibi", true, true);
  RequireFlag(attention, "qk_ln", false, false);
  RequireFlag(attention, "prefix_lm", false, false);
  RequireFlag(config, "no_bias", true, true);
  for (const char* key : {"clip_qkv"}) {
    if (!attention.Has(key)) continue;
    attention.Fail(absl::StatusCode::kUnimplemented, key, "is there, supported is null");
  }
  if (config.Has("logit_scale")) {
    config.Fail(absl::StatusCode::kUnimplemented, "logit_scale", "is there, supported is null");
  }
}

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.tied = true;
  defaults.activation = "gelu";
  defaults.norm_epsilon = 1e-5;
  defaults.columns_per_hidden = config.Integer("expansion_ratio", {1, 64}, 4);
  defaults.has_rope = false;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(false);
  spec.mlp.gated = false;
  spec.attention.alibi = true;
  if (!config.Get("attn_config").is_object()) return;
  ConfigReader attention(config.Get("attn_config"), config.file(), "attn_config.");
  CheckAttention(config, attention);
  spec.attention.alibi_max =
      static_cast<float>(attention.Number("alibi_bias_max", NumberBounds{1e-3, 1e3}, 8.0));
  spec.attention.scale = static_cast<float>(
      attention.Number("softmax_scale", kScaleBounds, double{spec.attention.scale}));
  config.Adopt(attention.status());
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "transformer.wte.weight"},
      {TensorRole::kAttentionNorm, "transformer.blocks.{}.norm_1.weight"},
      {TensorRole::kQuery, "transformer.blocks.{}.attn.Wqkv.weight", StoredAs::kBlocks},
      {TensorRole::kKey, "transformer.blocks.{}.attn.Wqkv.weight", StoredAs::kBlocks},
      {TensorRole::kValue, "transformer.blocks.{}.attn.Wqkv.weight", StoredAs::kBlocks},
      {TensorRole::kOutput, "transformer.blocks.{}.attn.out_proj.weight"},
      {TensorRole::kMlpNorm, "transformer.blocks.{}.norm_2.weight"},
      {TensorRole::kUp, "transformer.blocks.{}.ffn.up_proj.weight"},
      {TensorRole::kDown, "transformer.blocks.{}.ffn.down_proj.weight"},
      {TensorRole::kFinalNorm, "transformer.norm_f.weight"},
      {TensorRole::kHead, "lm_head.weight"},
  };
  return names;
}

}  // namespace

const Family& MptFamily() {
  static const auto& family = *new Family{"mpt",
                                          {"MptForCausalLM"},
                                          Parse,
                                          Names,
                                          "MPT 7B, 30B: ALiBi, no biases, tied embeddings",
                                          "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
