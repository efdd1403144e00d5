// Command R7B, A: windows on three of four layers, rope on those alone; transformers'
// Cohere2Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 8192;
  defaults.tied = true;
  defaults.norm_epsilon = 1e-5;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(false);
  spec.residual = Residual::kParallelOneNorm;
  spec.attention.rope_interleaved = true;
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.logit_scale = static_cast<float>(config.Number("logit_scale", kScaleBounds, 0.0625));
  ReadWindowPattern(config, {4096, 4}, spec);
  RotateWindowsOnly(spec);
}

}  // namespace

const Family& Cohere2Family() {
  static const auto& family = *new Family{
      "cohere2",
      {"Cohere2ForCausalLM"},
      Parse,
      LlamaNames,
      "Command R7B, A: as cohere, windows by pattern or layer_types, no rope on the other "
      "layers"};
  return family;
}

}  // namespace tessera::shard_loader
