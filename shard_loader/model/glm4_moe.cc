// GLM 4.5: experts chosen by sigmoid with a correction, beside shared ones; transformers'
// Glm4MoeConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 131072;
  defaults.norm_epsilon = 1e-5;
  defaults.rope.partial = 0.5;
  ReadCommon(config, defaults, spec);
  spec.attention.qkv_bias = config.Bool("attention_bias", false);
  if (config.Bool("use_qk_norm", false)) spec.attention.qk_norm = QkNorm::kPerHead;
  ReadMoe(config, {.renormalise = true, .experts_per_token = 8}, spec);
  ReadExpertGroups(config, spec);
  spec.moe.scores = MoeSpec::Scores::kSigmoid;
  spec.moe.correction_bias = true;
  spec.moe.group_by_two = true;
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(LlamaNames(), MlpExpertNames()));
  return names;
}

}  // namespace

const Family& Glm4MoeFamily() {
  static const auto& family = *new Family{
      "glm4_moe",
      {"Glm4MoeForCausalLM"},
      Parse,
      Names,
      "GLM 4.5, 4.6: partial rope, q and k norms, sigmoid routing with correction bias and "
      "groups, shared experts, first layers dense"};
  return family;
}

}  // namespace tessera::shard_loader
