// DeepSeek V3, R1: latent attention, experts chosen by sigmoid with a correction from the best
// groups; transformers' DeepseekV3Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 4096;
  defaults.head_size = 64;  // not read: a head has two parts
  defaults.rope.whole_head_only = true;
  ReadCommon(config, defaults, spec);
  ReadLatentAttention(config, spec);
  ReadMoe(config, {.renormalise = true, .experts_per_token = 8}, spec);
  ReadExpertGroups(config, spec);
  RequireFlag(config, "attention_bias", false, false);
  spec.moe.scores = MoeSpec::Scores::kSigmoid;
  spec.moe.correction_bias = true;
  spec.moe.group_by_two = true;
  spec.attention.rope_interleaved = config.Bool("rope_interleave", true);
}

const std::vector<NamePattern>& Names() {
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

}  // namespace

const Family& DeepseekV3Family() {
  static const auto& family = *new Family{
      "deepseek_v3",
      {"DeepseekV3ForCausalLM"},
      Parse,
      Names,
      "DeepSeek V3, R1: latent attention with q_lora, sigmoid routing with correction bias "
      "and groups, shared experts, first layers dense, yarn with mscale"};
  return family;
}

}  // namespace tessera::shard_loader
