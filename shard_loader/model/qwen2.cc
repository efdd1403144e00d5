// Qwen2 and Qwen2.5: biases on q, k and v, a window on the upper layers where it is turned on;
// transformers' Qwen2Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadCommon(config, {.context_length = 32768}, spec);
  spec.attention.qkv_bias = true;
  ReadQwenWindows(config, spec);
}

}  // namespace

const Family& Qwen2Family() {
  static const auto& family = *new Family{
      "qwen2",
      {"Qwen2ForCausalLM"},
      Parse,
      LlamaNames,
      "Qwen2, Qwen2.5: q, k, v biases, tied embeddings, sliding window by max_window_layers or "
      "layer_types, rope scaling as llama"};
  return family;
}

}  // namespace tessera::shard_loader
