// Mixtral: Mistral with experts on every layer; transformers' MixtralConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 131072;
  defaults.norm_epsilon = 1e-5;
  defaults.rope.theta = 1e6;
  ReadCommon(config, defaults, spec);
  ReadWindow(config, 0, spec);
  ReadMoe(config, {.renormalise = true, .own_columns = false}, spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      LlamaNames(),
      {
          {TensorRole::kRouter, "model.layers.{}.block_sparse_moe.gate.weight"},
          {TensorRole::kExpertGate, "model.layers.{}.block_sparse_moe.experts.{e}.w1.weight"},
          {TensorRole::kExpertUp, "model.layers.{}.block_sparse_moe.experts.{e}.w3.weight"},
          {TensorRole::kExpertDown, "model.layers.{}.block_sparse_moe.experts.{e}.w2.weight"},
      }));
  return names;
}

}  // namespace

const Family& MixtralFamily() {
  static const auto& family =
      *new Family{"mixtral",
                  {"MixtralForCausalLM"},
                  Parse,
                  Names,
                  "Mixtral 8x7B, 8x22B: softmax over the chosen experts, sliding window or none"};
  return family;
}

}  // namespace tessera::shard_loader
