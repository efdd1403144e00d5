// OPT: learned positions from row 2 on, norms before or after the blocks; transformers' OPTConfig.
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {
namespace {

void Parse(ConfigReader& config, DecoderSpec& spec) {
  CommonDefaults defaults;
  defaults.tied = true;
  defaults.activation = "relu";
  defaults.norm_epsilon = 1e-5;
  defaults.has_rope = false;
  ReadCommon(config, defaults, spec);
  spec.norm = LayerNormSpec(true);
  const bool before = config.Bool("do_layer_norm_before", true);
  spec.pre_norm = before;
  spec.residual_norm = !before;
  spec.final_norm = before && !config.Bool("_remove_final_layer_norm", false);
  spec.position_offset = 2;
  spec.num_position_rows = spec.context_length + spec.position_offset;
  const int64_t embedding = config.Integer("word_embed_proj_dim", kHiddenBounds, spec.hidden_size);
  if (embedding != spec.hidden_size) spec.embedding_size = embedding;
  spec.mlp.gated = false;
  const bool bias = config.Bool("enable_bias", true);
  spec.attention.qkv_bias = bias;
  spec.attention.output_bias = bias;
  spec.mlp.bias = bias;
  RequireFlag(config, "layer_norm_elementwise_affine", true, true);
}

const std::vector<NamePattern>& Names() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "model.decoder.embed_tokens.weight"},
      {TensorRole::kEmbeddingProject, "model.decoder.project_in.weight"},
      {TensorRole::kPositionEmbedding, "model.decoder.embed_positions.weight"},
      {TensorRole::kAttentionNorm, "model.decoder.layers.{}.self_attn_layer_norm.weight"},
      {TensorRole::kAttentionNormBias, "model.decoder.layers.{}.self_attn_layer_norm.bias"},
      {TensorRole::kQuery, "model.decoder.layers.{}.self_attn.q_proj.weight"},
      {TensorRole::kQueryBias, "model.decoder.layers.{}.self_attn.q_proj.bias"},
      {TensorRole::kKey, "model.decoder.layers.{}.self_attn.k_proj.weight"},
      {TensorRole::kKeyBias, "model.decoder.layers.{}.self_attn.k_proj.bias"},
      {TensorRole::kValue, "model.decoder.layers.{}.self_attn.v_proj.weight"},
      {TensorRole::kValueBias, "model.decoder.layers.{}.self_attn.v_proj.bias"},
      {TensorRole::kOutput, "model.decoder.layers.{}.self_attn.out_proj.weight"},
      {TensorRole::kOutputBias, "model.decoder.layers.{}.self_attn.out_proj.bias"},
      {TensorRole::kMlpNorm, "model.decoder.layers.{}.final_layer_norm.weight"},
      {TensorRole::kMlpNormBias, "model.decoder.layers.{}.final_layer_norm.bias"},
      {TensorRole::kUp, "model.decoder.layers.{}.fc1.weight"},
      {TensorRole::kUpBias, "model.decoder.layers.{}.fc1.bias"},
      {TensorRole::kDown, "model.decoder.layers.{}.fc2.weight"},
      {TensorRole::kDownBias, "model.decoder.layers.{}.fc2.bias"},
      {TensorRole::kFinalNorm, "model.decoder.final_layer_norm.weight"},
      {TensorRole::kFinalNormBias, "model.decoder.final_layer_norm.bias"},
      {TensorRole::kHeadProject, "model.decoder.project_out.weight"},
      {TensorRole::kHead, "lm_head.weight"},
  };
  return names;
}

}  // namespace

const Family& OptFamily() {
  static const auto& family =
      *new Family{"opt",
                  {"OPTForCausalLM"},
                  Parse,
                  Names,
                  "OPT 125M to 66B: learned positions, norms before or after the blocks, projected "
                  "embeddings, tied",
                  "model."};
  return family;
}

}  // namespace tessera::shard_loader
