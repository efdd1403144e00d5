// EXAONE 4: norms after the blocks only, q and k norms, rope on the layers with a window;
// transformers' Exaone4Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.norm_epsilon = 1e-5;
  ReadCommon(config, defaults, spec);
  spec.pre_norm = false;
  spec.post_norm = true;
  spec.attention.qk_norm = QkNorm::kPerHead;
  ReadWindowPattern(config, {4096, 4}, spec);
  RotateWindowsOnly(spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      LlamaNames(),
      {
          {TensorRole::kPostAttentionNorm, "model.layers.{}.post_attention_layernorm.weight"},
          {TensorRole::kPostMlpNorm, "model.layers.{}.post_feedforward_layernorm.weight"},
      }));
  return names;
}

}  // namespace

const Family& Exaone4Family() {
  static const auto& family = *new Family{
      "exaone4",
      {"Exaone4ForCausalLM"},
      Parse,
      Names,
      "EXAONE 4: norms after the blocks, q and k norms, windows by pattern or layer_types, "
      "no rope on the other layers"};
  return family;
}

}  // namespace tessera::shard_loader
