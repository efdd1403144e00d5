// CodeGen: GPT-J's block, queries, values and keys in four parts of one matrix; transformers'
// CodeGenConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/lineages.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  ReadGptjBlock(config, spec);
  if (spec.attention.num_heads % 4 != 0) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "n_head", "is no multiple of 4");
  }
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>(
      Renamed(GptjNames(),
              {
                  {TensorRole::kQuery, "transformer.h.{}.attn.qkv_proj.weight", StoredAs::kCodegen},
                  {TensorRole::kKey, "transformer.h.{}.attn.qkv_proj.weight", StoredAs::kCodegen},
                  {TensorRole::kValue, "transformer.h.{}.attn.qkv_proj.weight", StoredAs::kCodegen},
              }));
  return names;
}

}  // namespace

const Family& CodegenFamily() {
  static const auto& family = *new Family{
      "codegen",
      {"CodeGenForCausalLM"},
      Parse,
      Names,
      "CodeGen: parallel residual with one norm, partial interleaved rope, head with bias",
      "transformer."};
  return family;
}

}  // namespace tessera::shard_loader
