// DeepSeek V3, R1: latent attention, experts chosen by sigmoid with a correction from the best
// groups; transformers' DeepseekV3Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/lineages.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadDeepseekBlock(config, 4096, {.renormalise = true, .experts_per_token = 8}, spec);
  spec.moe.scores = MoeSpec::Scores::kSigmoid;
  spec.moe.correction_bias = true;
  spec.moe.group_by_two = true;
  spec.attention.rope_interleaved = config.Bool("rope_interleave", true);
}

}  // namespace

const Family& DeepseekV3Family() {
  static const auto& family = *new Family{
      "deepseek_v3",
      {"DeepseekV3ForCausalLM"},
      Parse,
      DeepseekNames,
      "DeepSeek V3, R1: latent attention with q_lora, sigmoid routing with correction bias "
      "and groups, shared experts, first layers dense, yarn with mscale"};
  return family;
}

}  // namespace tessera::shard_loader
