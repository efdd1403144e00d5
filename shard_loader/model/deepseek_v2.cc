// DeepSeek V2: latent attention, experts chosen by softmax beside shared ones; transformers'
// DeepseekV2Config.
#include <string>

#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 2048;
  defaults.head_size = 64;  // not read: a head has two parts
  defaults.rope.whole_head_only = true;
  ReadCommon(config, defaults, spec);
  ReadLatentAttention(config, spec);
  ReadMoe(config, {.experts_per_token = 6}, spec);
  ReadExpertGroups(config, spec);
  RequireFlag(config, "attention_bias", false, false);
  // transformers leaves norm_topk_prob out of account, the authors' own code does not scale then.
  RequireFlag(config, "norm_topk_prob", false, false);
  const std::string method = config.String("topk_method", "greedy");
  if (method == "greedy") {
    spec.moe.num_groups = spec.moe.groups_per_token = 1;
  } else if (method != "group_limited_greedy") {
    config.Fail(absl::StatusCode::kUnimplemented, "topk_method",
                "is neither 'greedy' nor 'group_limited_greedy'");
  }
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

const Family& DeepseekV2Family() {
  static const auto& family =
      *new Family{"deepseek_v2",
                  {"DeepseekV2ForCausalLM"},
                  Parse,
                  Names,
                  "DeepSeek V2, V2 Lite: latent attention with or without q_lora, softmax routing, "
                  "groups, shared experts, first layers dense, yarn with mscale"};
  return family;
}

}  // namespace tessera::shard_loader
