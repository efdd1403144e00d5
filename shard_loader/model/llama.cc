// Llama 1, 2 and 3 (and what carries their architecture): transformers' LlamaConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadCommon(config, {.context_length = 2048}, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.mlp.bias = config.Bool("mlp_bias", false);
}

}  // namespace

const Family& LlamaFamily() {
  static const auto& family = *new Family{
      "llama",
      {"LlamaForCausalLM", "LLaMAForCausalLM"},
      Parse,
      LlamaNames,
      "Llama 1, 2, 3: grouped-query attention, head_dim, attention and MLP biases, tied "
      "embeddings, linear and llama3 rope scaling"};
  return family;
}

}  // namespace tessera::shard_loader
