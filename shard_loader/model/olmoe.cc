// OLMoE: experts on every layer, q and k norms over all heads; transformers' OlmoeConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.norm_epsilon = 1e-5;
  defaults.context_length = 4096;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.attention.qk_norm = QkNorm::kAllHeads;
  ReadMoe(config, {.experts_per_token = 8, .own_columns = false}, spec);
  if (config.Has("clip_qkv")) {
    config.Fail(absl::StatusCode::kUnimplemented, "clip_qkv", "is there, supported is null");
  }
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(LlamaNames(), MlpExpertNames()));
  return names;
}

}  // namespace

const Family& OlmoeFamily() {
  static const auto& family = *new Family{"olmoe",
                                          {"OlmoeForCausalLM"},
                                          Parse,
                                          Names,
                                          "OLMoE: q and k norms over all heads, softmax routing"};
  return family;
}

}  // namespace tessera::shard_loader
