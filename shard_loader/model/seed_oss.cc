// Seed-OSS: Llama with biases of q, k and v; transformers' SeedOssConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 524288;
  defaults.head_size = 128;
  ReadCommon(config, defaults, spec);
  spec.attention.qkv_bias = config.Bool("attention_bias", true);
  spec.attention.output_bias = config.Bool("attention_out_bias", false);
  spec.mlp.bias = config.Bool("mlp_bias", false);
}

}  // namespace

const Family& SeedOssFamily() {
  static const auto& family = *new Family{
      "seed_oss", {"SeedOssForCausalLM"}, Parse, LlamaNames, "Seed-OSS: q, k, v biases, head_dim"};
  return family;
}

}  // namespace tessera::shard_loader
