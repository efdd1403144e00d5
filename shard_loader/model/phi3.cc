// Phi 3, 3.5, 4: Llama with q, k, v in one matrix and gate, up in another; transformers'
// Phi3Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 4096;
  defaults.norm_epsilon = 1e-5;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  ReadWindow(config, 0, spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      LlamaNames(),
      {
          {TensorRole::kQuery, "model.layers.{}.self_attn.qkv_proj.weight", StoredAs::kBlocks},
          {TensorRole::kKey, "model.layers.{}.self_attn.qkv_proj.weight", StoredAs::kBlocks},
          {TensorRole::kValue, "model.layers.{}.self_attn.qkv_proj.weight", StoredAs::kBlocks},
          {TensorRole::kQueryBias, "model.layers.{}.self_attn.qkv_proj.bias", StoredAs::kBlocks},
          {TensorRole::kKeyBias, "model.layers.{}.self_attn.qkv_proj.bias", StoredAs::kBlocks},
          {TensorRole::kValueBias, "model.layers.{}.self_attn.qkv_proj.bias", StoredAs::kBlocks},
          {TensorRole::kGate, "model.layers.{}.mlp.gate_up_proj.weight", StoredAs::kBlocks},
          {TensorRole::kUp, "model.layers.{}.mlp.gate_up_proj.weight", StoredAs::kBlocks},
      }));
  return names;
}

}  // namespace

const Family& Phi3Family() {
  static const auto& family =
      *new Family{"phi3",
                  {"Phi3ForCausalLM"},
                  Parse,
                  Names,
                  "Phi 3, 3.5, 4 (dense): fused q k v and gate_up, sliding window, partial rope, "
                  "longrope"};
  return family;
}

}  // namespace tessera::shard_loader
