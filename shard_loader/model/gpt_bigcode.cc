// StarCoder 1, SantaCoder: GPT-2 with one KV head; transformers' GPTBigCodeConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/lineages.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadGpt2Block(config, "gelu_pytorch_tanh", spec);
  if (config.Bool("multi_query", true)) spec.attention.num_kv_heads = 1;
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(Gpt2Names(StoredAs::kGroups, false));
  return names;
}

}  // namespace

const Family& GptBigcodeFamily() {
  static const auto& family =
      *new Family{"gpt_bigcode",
                  {"GPTBigCodeForCausalLM"},
                  Parse,
                  Names,
                  "StarCoder 1, SantaCoder: multi-query or multi-head, learned positions",
                  "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
