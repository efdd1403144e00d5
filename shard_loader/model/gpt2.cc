// GPT-2: learned positions, matrices stored [inputs, outputs]; transformers' GPT2Config.
#include "shard_loader/model/family.h"
#include "shard_loader/model/lineages.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadGpt2Block(config, "gelu_new", spec);
  RequireFlag(config, "scale_attn_by_inverse_layer_idx", false, false);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Gpt2Names(StoredAs::kBlocks, true));
  return names;
}

}  // namespace

const Family& Gpt2Family() {
  static const auto& family = *new Family{
      "gpt2",
      {"GPT2LMHeadModel"},
      Parse,
      Names,
      "GPT-2 and its likes: learned positions, LayerNorm, Conv1D weights, tied embeddings",
      "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
