// OLMo 1: LayerNorm without weights; transformers' OlmoConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.norm_epsilon = 1e-5;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.norm = {.kind = NormKind::kLayer, .weight = false};
  if (config.Has("clip_qkv")) {
    config.Fail(absl::StatusCode::kUnimplemented, "clip_qkv", "is there, supported is null");
  }
}

}  // namespace

const Family& OlmoFamily() {
  static const auto& family = *new Family{
      "olmo", {"OlmoForCausalLM"}, Parse, LlamaNames, "OLMo 1: LayerNorm without weights"};
  return family;
}

}  // namespace tessera::shard_loader
