// CodeGen: GPT-J's block, queries, values and keys in four parts of one matrix; transformers'
// CodeGenConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.activation = "gelu_new";
  defaults.norm_epsilon = 1e-5;
  defaults.columns_per_hidden = 4;
  defaults.rope.whole_head_only = true;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  spec.residual = Residual::kParallelOneNorm;
  spec.mlp.gated = false;
  spec.mlp.bias = true;
  spec.head_bias = true;
  ReadRotaryDim(config, spec);
  if (spec.attention.num_heads % 4 != 0) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "n_head", "is no multiple of 4");
  }
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "transformer.wte.weight"},
      {TensorRole::kAttentionNorm, "transformer.h.{}.ln_1.weight"},
      {TensorRole::kAttentionNormBias, "transformer.h.{}.ln_1.bias"},
      {TensorRole::kQuery, "transformer.h.{}.attn.qkv_proj.weight", StoredAs::kCodegen},
      {TensorRole::kKey, "transformer.h.{}.attn.qkv_proj.weight", StoredAs::kCodegen},
      {TensorRole::kValue, "transformer.h.{}.attn.qkv_proj.weight", StoredAs::kCodegen},
      {TensorRole::kOutput, "transformer.h.{}.attn.out_proj.weight"},
      {TensorRole::kUp, "transformer.h.{}.mlp.fc_in.weight"},
      {TensorRole::kUpBias, "transformer.h.{}.mlp.fc_in.bias"},
      {TensorRole::kDown, "transformer.h.{}.mlp.fc_out.weight"},
      {TensorRole::kDownBias, "transformer.h.{}.mlp.fc_out.bias"},
      {TensorRole::kFinalNorm, "transformer.ln_f.weight"},
      {TensorRole::kFinalNormBias, "transformer.ln_f.bias"},
      {TensorRole::kHead, "lm_head.weight"},
      {TensorRole::kHeadBias, "lm_head.bias"},
  };
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
