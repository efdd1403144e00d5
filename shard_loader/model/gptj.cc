// GPT-J: attention and MLP beside each other after one norm, interleaved rope on a part of each
// head; transformers' GPTJConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/lineages.h"

namespace tessera::shard_loader {
const Family& GptjFamily() {
  static const auto& family = *new Family{
      "gptj",
      {"GPTJForCausalLM"},
      ReadGptjBlock,
      GptjNames,
      "GPT-J: parallel residual with one norm, partial interleaved rope, head with bias",
      "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
