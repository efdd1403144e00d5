// Granite 3: Llama with multipliers; transformers' GraniteConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.mlp.bias = config.Bool("mlp_bias", false);
  ReadMultipliers(config, spec);
}

}  // namespace

const Family& GraniteFamily() {
  static const auto& family =
      *new Family{"granite",
                  {"GraniteForCausalLM"},
                  Parse,
                  LlamaNames,
                  "Granite 3: embedding, residual, attention and logit multipliers"};
  return family;
}

}  // namespace tessera::shard_loader
