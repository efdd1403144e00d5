// GLM 4 9B and GLM Edge: interleaved rope on half of each head, gate and up in one matrix;
// transformers' GlmConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 131072;
  defaults.head_size = 128;
  defaults.norm_epsilon = 1.5625e-7;
  defaults.rope.partial = 0.5;
  ReadCommon(config, defaults, spec);
  spec.attention.rope_interleaved = true;
  spec.attention.qkv_bias = config.Bool("attention_bias", true);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(
      Renamed(LlamaNames(),
              {
                  {TensorRole::kGate, "model.layers.{}.mlp.gate_up_proj.weight", StoredAs::kBlocks},
                  {TensorRole::kUp, "model.layers.{}.mlp.gate_up_proj.weight", StoredAs::kBlocks},
              }));
  return names;
}

}  // namespace

const Family& GlmFamily() {
  static const auto& family =
      *new Family{"glm",
                  {"GlmForCausalLM"},
                  Parse,
                  Names,
                  "GLM 4 9B, GLM Edge: partial interleaved rope, fused gate_up_proj, q k v biases"};
  return family;
}

}  // namespace tessera::shard_loader
