// Granite 3 with experts, whose matrices lie one after the other; transformers' GraniteMoeConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  ReadCommon(config, defaults, spec);
  const bool attention_bias = config.Bool("attention_bias", false);
  spec.attention.qkv_bias = attention_bias;
  spec.attention.output_bias = attention_bias;
  ReadMultipliers(config, spec);
  ReadMoe(config, {.renormalise = true, .own_columns = false}, spec);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Renamed(
      LlamaNames(),
      {
          {TensorRole::kRouter, "model.layers.{}.block_sparse_moe.router.layer.weight"},
          {TensorRole::kExpertGate, "model.layers.{}.block_sparse_moe.input_linear.weight",
           StoredAs::kBlocks},
          {TensorRole::kExpertUp, "model.layers.{}.block_sparse_moe.input_linear.weight",
           StoredAs::kBlocks},
          {TensorRole::kExpertDown, "model.layers.{}.block_sparse_moe.output_linear.weight"},
      }));
  return names;
}

}  // namespace

const Family& GranitemoeFamily() {
  static const auto& family =
      *new Family{"granitemoe",
                  {"GraniteMoeForCausalLM"},
                  Parse,
                  Names,
                  "Granite 3 with experts: multipliers, softmax over the chosen experts"};
  return family;
}

}  // namespace tessera::shard_loader
