// StarCoder 2: LayerNorm with biases, grouped queries, a window; transformers' Starcoder2Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 4096;
  defaults.tied = true;
  defaults.activation = "gelu_pytorch_tanh";
  defaults.norm_epsilon = 1e-5;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  spec.mlp.gated = false;
  const bool bias = config.Bool("use_bias", true);
  spec.attention.qkv_bias = bias;
  spec.attention.output_bias = bias;
  spec.mlp.bias = bias;
  ReadWindow(config, 0, spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(
      Renamed(Renamed(LlamaNames(), LlamaNormBiases()),
              {
                  {TensorRole::kUp, "model.layers.{}.mlp.c_fc.weight"},
                  {TensorRole::kUpBias, "model.layers.{}.mlp.c_fc.bias"},
                  {TensorRole::kDown, "model.layers.{}.mlp.c_proj.weight"},
                  {TensorRole::kDownBias, "model.layers.{}.mlp.c_proj.bias"},
              }));
  return names;
}

}  // namespace

const Family& Starcoder2Family() {
  static const auto& family =
      *new Family{"starcoder2",
                  {"Starcoder2ForCausalLM"},
                  Parse,
                  Names,
                  "StarCoder 2: LayerNorm, biases, sliding window, tied embeddings"};
  return family;
}

}  // namespace tessera::shard_loader
