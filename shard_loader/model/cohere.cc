// Command R: parallel blocks after one norm, interleaved rope, scaled logits; with one KV head it
// is PaLM's block. transformers' CohereConfig.
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
  if (config.Bool("use_qk_norm", false)) {
    spec.attention.qk_norm = QkNorm::kOwnPerHead;
    spec.attention.qk_norm_kind = NormKind::kLayer;
  }
}

}  // namespace

const Family& CohereFamily() {
  static const auto& family = *new Family{
      "cohere",
      {"CohereForCausalLM"},
      Parse,
      LlamaNames,
      "Command R, R+ and PaLM-like blocks: parallel residual with one norm, interleaved "
      "rope, norms of q and k with weights for each head, logit_scale"};
  return family;
}

}  // namespace tessera::shard_loader
