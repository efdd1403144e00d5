// Qwen3: RMS norms on every head of q and k before rope; transformers' Qwen3Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadCommon(config, {.context_length = 32768, .head_size = 128}, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadQwenWindows(config, spec);
}

}  // namespace

const Family& Qwen3Family() {
  static const auto& family = *new Family{
      "qwen3",
      {"Qwen3ForCausalLM"},
      Parse,
      LlamaNames,
      "Qwen3 (dense): q and k norms, head_dim, attention biases, tied embeddings, sliding window, "
      "rope scaling as llama"};
  return family;
}

}  // namespace tessera::shard_loader
