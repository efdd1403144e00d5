// Gemma 1: embeddings scaled by the root of their size, norm weights stored less one; transformers'
// GemmaConfig.
#include <cmath>

#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.context_length = 8192;
  defaults.head_size = 256;
  defaults.tied = true;
  defaults.activation = "gelu_pytorch_tanh";
  ReadCommon(config, defaults, spec);
  spec.norm.one_plus = true;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden_size));
  // `hidden_act` says "gelu" in some files and is not used.
  spec.mlp.activation = ReadActivation(config, "hidden_activation", "gelu_pytorch_tanh");
}

}  // namespace

const Family& GemmaFamily() {
  static const auto& family = *new Family{"gemma",
                                          {"GemmaForCausalLM"},
                                          Parse,
                                          LlamaNames,
                                          "Gemma 1, CodeGemma: scaled embeddings, tied"};
  return family;
}

}  // namespace tessera::shard_loader
