// Nemotron, Minitron: LayerNorm with weights stored less one, squared ReLU, partial rope;
// transformers' NemotronConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 4096;
  defaults.activation = "relu2";
  defaults.norm_epsilon = 1e-5;
  defaults.rope.partial = 0.5;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  spec.norm.one_plus = true;
  spec.mlp.gated = false;
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.mlp.bias = config.Bool("mlp_bias", false);
}

const std::vector<NamePattern>& Names() {
  static const auto& names =
      *new std::vector<NamePattern>(Renamed(LlamaNames(), LlamaNormBiases()));
  return names;
}

}  // namespace

const Family& NemotronFamily() {
  static const auto& family =
      *new Family{"nemotron",
                  {"NemotronForCausalLM"},
                  Parse,
                  Names,
                  "Nemotron, Minitron: LayerNorm, squared ReLU, partial rope"};
  return family;
}

}  // namespace tessera::shard_loader
