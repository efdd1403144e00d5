// Qwen3 with experts; transformers' Qwen3MoeConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 32768;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadQwenWindows(config, spec);
  ReadMoe(config, {.experts_per_token = 8}, spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(LlamaNames(), MlpExpertNames()));
  return names;
}

}  // namespace

const Family& Qwen3MoeFamily() {
  static const auto& family = *new Family{
      "qwen3_moe",
      {"Qwen3MoeForCausalLM"},
      Parse,
      Names,
      "Qwen3 30B-A3B, 235B-A22B: q and k norms, softmax routing, dense layers by step or "
      "list"};
  return family;
}

}  // namespace tessera::shard_loader
