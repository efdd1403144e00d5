#include "shard_loader/model/hugging_face.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "shard_loader/model/rope.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

struct ActivationName {
  const char* name;
  Activation activation;
};

constexpr ActivationName kActivations[] = {
    {"silu", Activation::kSilu},         {"swish", Activation::kSilu},
    {"gelu", Activation::kGelu},         {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_new", Activation::kGeluTanh},
};

Activation ReadActivation(ConfigReader& config) {
  const std::string name = config.String("hidden_act", "silu");
  for (const auto& known : kActivations) {
    if (name == known.name) return known.activation;
  }
  std::string supported;
  for (const auto& known : kActivations) {
    absl::StrAppend(&supported, supported.empty() ? "" : ", ", known.name);
  }
  config.Fail(absl::StatusCode::kUnimplemented, "hidden_act",
              absl::StrCat("is '", Excerpt(name), "', supported are ", supported));
  return Activation::kSilu;
}

void ReadHeads(ConfigReader& config, const CommonDefaults& defaults, DecoderSpec& spec) {
  AttentionSpec& attention = spec.attention;
  attention.num_heads = config.Integer("num_attention_heads", kHeadBounds);
  attention.num_kv_heads = config.Integer("num_key_value_heads", kHeadBounds, attention.num_heads);
  if (attention.num_heads % attention.num_kv_heads != 0) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "num_key_value_heads",
                absl::StrCat("is ", attention.num_kv_heads,
                             ", which does not divide num_attention_heads ", attention.num_heads));
  }
  if (config.Has("head_dim") || defaults.head_size) {
    attention.head_size = config.Integer("head_dim", kHeadSizeBounds, defaults.head_size);
  } else if (spec.hidden_size % attention.num_heads != 0) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "hidden_size",
                absl::StrCat("is ", spec.hidden_size, ", no multiple of num_attention_heads ",
                             attention.num_heads, ", and there is no head_dim"));
  } else {
    attention.head_size = spec.hidden_size / attention.num_heads;
  }
  if (attention.head_size < kHeadSizeBounds.least || attention.head_size > kHeadSizeBounds.most ||
      attention.head_size % 2 != 0) {
    config.Fail(
        absl::StatusCode::kFailedPrecondition, "head_dim",
        absl::StrCat("is ", attention.head_size, "; rotary embeddings need an even one of at most ",
                     kHeadSizeBounds.most));
    attention.head_size = kHeadSizeBounds.least;
  }
  attention.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(attention.head_size)));
}

// Defaults of Qwen2Config and Qwen3Config.
constexpr int64_t kQwenWindow = 4096;
constexpr int64_t kQwenWindowLayers = 28;

bool IsSliding(ConfigReader& config, const std::string& type, bool window_on) {
  if (type == "full_attention") return false;
  if (type != "sliding_attention") {
    config.Fail(absl::StatusCode::kUnimplemented, "layer_types",
                absl::StrCat("has '", Excerpt(type),
                             "', supported are full_attention and sliding_attention"));
  } else if (!window_on) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "layer_types",
                "has sliding_attention, but use_sliding_window is off");
  }
  return true;
}

}  // namespace

void ReadCommon(ConfigReader& config, const CommonDefaults& defaults, DecoderSpec& spec) {
  spec.num_layers = config.Integer("num_hidden_layers", kLayerBounds);
  spec.hidden_size = config.Integer("hidden_size", kHiddenBounds);
  spec.vocab_size = config.Integer("vocab_size", kVocabBounds);
  spec.context_length =
      config.Integer("max_position_embeddings", kContextBounds, defaults.context_length);
  spec.norm_epsilon =
      static_cast<float>(config.Number("rms_norm_eps", NumberBounds{1e-20, 1.0}, 1e-6));
  spec.tied_embeddings = config.Bool("tie_word_embeddings", false);
  ReadHeads(config, defaults, spec);
  spec.attention.windows.assign(spec.num_layers, 0);
  spec.mlp.intermediate_size = config.Integer("intermediate_size", kColumnBounds);
  spec.mlp.activation = ReadActivation(config);
  ReadRope(config, spec);
}

void ReadQwenWindows(ConfigReader& config, DecoderSpec& spec) {
  const bool on = config.Bool("use_sliding_window", false);
  const int64_t window =
      on ? config.Integer("sliding_window", {1, kContextBounds.most}, kQwenWindow) : 0;
  const int64_t first = config.Integer("max_window_layers", {0, 1 << 20}, kQwenWindowLayers);
  const std::vector<std::string> types = config.StringList("layer_types");
  if (!types.empty() && static_cast<int64_t>(types.size()) != spec.num_layers) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "layer_types",
                absl::StrCat("has ", types.size(), " entries, expected one for each of ",
                             spec.num_layers, " layers"));
    return;
  }
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool sliding = types.empty() ? on && layer >= first : IsSliding(config, types[layer], on);
    spec.attention.windows[layer] = sliding ? window : 0;
  }
}

const std::vector<NamePattern>& LlamaNames() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kEmbedding, "model.embed_tokens.weight"},
      {TensorRole::kAttentionNorm, "model.layers.{}.input_layernorm.weight"},
      {TensorRole::kQuery, "model.layers.{}.self_attn.q_proj.weight"},
      {TensorRole::kKey, "model.layers.{}.self_attn.k_proj.weight"},
      {TensorRole::kValue, "model.layers.{}.self_attn.v_proj.weight"},
      {TensorRole::kQueryBias, "model.layers.{}.self_attn.q_proj.bias"},
      {TensorRole::kKeyBias, "model.layers.{}.self_attn.k_proj.bias"},
      {TensorRole::kValueBias, "model.layers.{}.self_attn.v_proj.bias"},
      {TensorRole::kQueryNorm, "model.layers.{}.self_attn.q_norm.weight"},
      {TensorRole::kKeyNorm, "model.layers.{}.self_attn.k_norm.weight"},
      {TensorRole::kOutput, "model.layers.{}.self_attn.o_proj.weight"},
      {TensorRole::kOutputBias, "model.layers.{}.self_attn.o_proj.bias"},
      {TensorRole::kMlpNorm, "model.layers.{}.post_attention_layernorm.weight"},
      {TensorRole::kGate, "model.layers.{}.mlp.gate_proj.weight"},
      {TensorRole::kUp, "model.layers.{}.mlp.up_proj.weight"},
      {TensorRole::kDown, "model.layers.{}.mlp.down_proj.weight"},
      {TensorRole::kGateBias, "model.layers.{}.mlp.gate_proj.bias"},
      {TensorRole::kUpBias, "model.layers.{}.mlp.up_proj.bias"},
      {TensorRole::kDownBias, "model.layers.{}.mlp.down_proj.bias"},
      {TensorRole::kFinalNorm, "model.norm.weight"},
      {TensorRole::kHead, "lm_head.weight"},
  };
  return names;
}

}  // namespace tessera::shard_loader
