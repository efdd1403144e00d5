// SmolLM3: Llama with rope on three of four layers; transformers' SmolLM3Config.
#include <vector>

#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

// `no_rope_layers` has 1 for layers with rope; without it every so many layers have none.
void ReadRopeLayers(ConfigReader& config, DecoderSpec& spec) {
  const std::vector<int64_t> flags = config.IntegerOrList("no_rope_layers", {0, 1});
  const int64_t interval = config.Integer("no_rope_layer_interval", {1, 1 << 20}, 4);
  if (!flags.empty() && static_cast<int64_t>(flags.size()) != spec.num_layers) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "no_rope_layers",
                "does not have one entry for each layer");
    return;
  }
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool rotates = flags.empty() ? (layer + 1) % interval != 0 : flags[layer] == 1;
    spec.attention.rope_of_layer.push_back(rotates ? RopeUse::kMain : RopeUse::kNone);
  }
}

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 32768;
  defaults.tied = true;
  defaults.rope.theta = 2e6;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  spec.mlp.bias = config.Bool("mlp_bias", false);
  ReadRopeLayers(config, spec);
  ReadQwenWindows(config, spec);
}

}  // namespace

const Family& Smollm3Family() {
  static const auto& family = *new Family{"smollm3",
                                          {"SmolLM3ForCausalLM"},
                                          Parse,
                                          LlamaNames,
                                          "SmolLM3: no rope on some layers, tied embeddings"};
  return family;
}

}  // namespace tessera::shard_loader
