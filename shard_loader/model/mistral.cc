// Mistral: Llama with a sliding window on every layer; transformers' MistralConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadCommon(config, {.context_length = 131072}, spec);
  ReadWindow(config, 4096, spec);
}

}  // namespace

const Family& MistralFamily() {
  static const auto& family = *new Family{
      "mistral",
      {"MistralForCausalLM"},
      Parse,
      LlamaNames,
      "Mistral 7B, Nemo and their likes: sliding window or none, head_dim, rope scaling as llama"};
  return family;
}

}  // namespace tessera::shard_loader
