// DeepSeek V2: latent attention, experts chosen by softmax beside shared ones; transformers'
// DeepseekV2Config.
#include <string>

#include "shard_loader/model/family.h"
#include "shard_loader/model/lineages.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadDeepseekBlock(config, 2048, {.experts_per_token = 6}, spec);
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

}  // namespace

const Family& DeepseekV2Family() {
  static const auto& family =
      *new Family{"deepseek_v2",
                  {"DeepseekV2ForCausalLM"},
                  Parse,
                  DeepseekNames,
                  "DeepSeek V2, V2 Lite: latent attention with or without q_lora, softmax routing, "
                  "groups, shared experts, first layers dense, yarn with mscale"};
  return family;
}

}  // namespace tessera::shard_loader
