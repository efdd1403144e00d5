// ERNIE 4.5 (dense): Llama with interleaved rope; transformers' Ernie4_5Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 131072;
  defaults.head_size = 128;
  defaults.tied = true;
  defaults.norm_epsilon = 1e-5;
  defaults.rope.theta = 500000.0;
  ReadCommon(config, defaults, spec);
  spec.attention.rope_interleaved = true;
  const bool bias = config.Bool("use_bias", false);
  spec.attention.qkv_bias = bias;
  spec.attention.output_bias = bias;
  spec.mlp.bias = bias;
}

}  // namespace

const Family& Ernie45Family() {
  static const auto& family =
      *new Family{"ernie4_5",
                  {"Ernie4_5ForCausalLM"},
                  Parse,
                  LlamaNames,
                  "ERNIE 4.5 (dense): interleaved rope, biases, tied embeddings"};
  return family;
}

}  // namespace tessera::shard_loader
