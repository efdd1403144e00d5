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
    {"silu", Activation::kSilu},
    {"swish", Activation::kSilu},
    {"gelu", Activation::kGelu},
    {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh},
    {"quick_gelu", Activation::kQuickGelu},
    {"relu", Activation::kRelu},
    {"relu2", Activation::kRelu2},
};

void ReadHeads(ConfigReader& config, const CommonDefaults& defaults, DecoderSpec& spec) {
  AttentionSpec& attention = spec.attention;
  attention.num_heads =
      config.Integer(config.Key({"num_attention_heads", "n_head", "n_heads"}), kHeadBounds);
  attention.num_kv_heads =
      config.Integer(config.Key({"num_key_value_heads"}), kHeadBounds, attention.num_heads);
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

// Whether each layer has a window, as `layer_types` says; empty where it is absent or wrong.
std::vector<bool> ReadLayerTypes(ConfigReader& config, const DecoderSpec& spec) {
  const std::vector<std::string> types = config.StringList("layer_types");
  if (types.empty()) return {};
  if (static_cast<int64_t>(types.size()) != spec.num_layers) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "layer_types",
                absl::StrCat("has ", types.size(), " entries, expected one for each of ",
                             spec.num_layers, " layers"));
    return {};
  }
  std::vector<bool> sliding;
  for (const std::string& type : types) {
    sliding.push_back(type == "sliding_attention");
    if (type == "full_attention" || type == "sliding_attention") continue;
    config.Fail(absl::StatusCode::kUnimplemented, "layer_types",
                absl::StrCat("has '", Excerpt(type),
                             "', supported are full_attention and sliding_attention"));
  }
  return sliding;
}

int64_t WindowOf(ConfigReader& config, int64_t fallback) {
  // Absent is not null: null turns the window off, an absent key means the class's default.
  if (!config.Contains("sliding_window")) return fallback;
  return config.Integer("sliding_window", {1, kContextBounds.most}, 0);
}

int64_t ReadPattern(ConfigReader& config, int64_t fallback) {
  const std::string key = config.Key({"sliding_window_pattern", "_sliding_window_pattern"});
  // "LLLG": as many local layers as there are L, then a global one.
  if (!config.Get(key).is_string()) return config.Integer(key, {1, 1 << 20}, fallback);
  const std::string letters = config.String(key, "");
  const bool known = letters.size() <= 1024 && !letters.empty() &&
                     letters.find('G') == letters.size() - 1 &&
                     letters.find_first_not_of("LG") == std::string::npos;
  if (!known) {
    config.Fail(
        absl::StatusCode::kUnimplemented, key,
        absl::StrCat("is '", Excerpt(letters), "', supported are L's and one G at the end"));
    return fallback;
  }
  return static_cast<int64_t>(letters.size());
}

}  // namespace

Activation ReadActivation(ConfigReader& config, const std::string& key,
                          const std::string& fallback) {
  const std::string name = config.String(key, fallback);
  for (const auto& known : kActivations) {
    if (name == known.name) return known.activation;
  }
  std::string supported;
  for (const auto& known : kActivations) {
    absl::StrAppend(&supported, supported.empty() ? "" : ", ", known.name);
  }
  config.Fail(absl::StatusCode::kUnimplemented, key,
              absl::StrCat("is '", Excerpt(name), "', supported are ", supported));
  return Activation::kSilu;
}

void ReadCommon(ConfigReader& config, const CommonDefaults& defaults, DecoderSpec& spec) {
  spec.num_layers = config.Integer(
      config.Key({"num_hidden_layers", "n_layer", "n_layers", "num_layers"}), kLayerBounds);
  spec.hidden_size =
      config.Integer(config.Key({"hidden_size", "n_embd", "n_embed", "d_model"}), kHiddenBounds);
  spec.vocab_size = config.Integer("vocab_size", kVocabBounds);
  spec.context_length = config.Integer(
      config.Key({"max_position_embeddings", "n_positions", "max_seq_len", "seq_length"}),
      kContextBounds, defaults.context_length);
  const std::string epsilon = config.Key(
      {"rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"});
  spec.norm_epsilon =
      static_cast<float>(config.Number(epsilon, NumberBounds{1e-20, 1.0}, defaults.norm_epsilon));
  spec.tied_embeddings = config.Bool("tie_word_embeddings", defaults.tied);
  ReadHeads(config, defaults, spec);
  spec.attention.windows.assign(spec.num_layers, 0);
  std::optional<int64_t> columns;
  if (defaults.columns_per_hidden > 0) columns = defaults.columns_per_hidden * spec.hidden_size;
  spec.mlp.intermediate_size =
      config.Integer(config.Key({"intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"}),
                     kColumnBounds, columns);
  spec.mlp.activation =
      ReadActivation(config, config.Key({"hidden_act", "activation_function", "hidden_activation"}),
                     defaults.activation);
  if (defaults.has_rope) {
    ReadRope(config, defaults.rope, spec);
  } else {
    spec.attention.rope_of_layer.assign(spec.num_layers, RopeUse::kNone);
  }
}

NormSpec LayerNormSpec(bool bias) { return {.kind = NormKind::kLayer, .bias = bias}; }

void ReadQwenWindows(ConfigReader& config, DecoderSpec& spec) {
  const bool on = config.Bool("use_sliding_window", false);
  const int64_t window =
      on ? config.Integer("sliding_window", {1, kContextBounds.most}, kQwenWindow) : 0;
  const int64_t first = config.Integer("max_window_layers", {0, 1 << 20}, kQwenWindowLayers);
  const std::vector<bool> types = ReadLayerTypes(config, spec);
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool sliding = types.empty() ? on && layer >= first : types[layer];
    if (sliding && !on) {
      config.Fail(absl::StatusCode::kFailedPrecondition, "layer_types",
                  "has sliding_attention, but use_sliding_window is off");
    }
    spec.attention.windows[layer] = sliding ? window : 0;
  }
}

void ReadWindowPattern(ConfigReader& config, const WindowDefaults& defaults, DecoderSpec& spec) {
  const int64_t window = WindowOf(config, defaults.window);
  const int64_t pattern = ReadPattern(config, defaults.pattern);
  const std::vector<bool> types = ReadLayerTypes(config, spec);
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool sliding = types.empty() ? (layer + 1) % pattern != 0 : types[layer];
    if (sliding && window == 0 && !types.empty()) {
      config.Fail(absl::StatusCode::kFailedPrecondition, "layer_types",
                  "has sliding_attention, but there is no sliding_window");
    }
    spec.attention.windows[layer] = sliding ? window : 0;
  }
}

void ReadWindow(ConfigReader& config, int64_t fallback, DecoderSpec& spec) {
  spec.attention.windows.assign(spec.num_layers, WindowOf(config, fallback));
}

void RotateWindowsOnly(DecoderSpec& spec) {
  const std::vector<int64_t>& windows = spec.attention.windows;
  if (std::all_of(windows.begin(), windows.end(), [](int64_t window) { return window == 0; })) {
    return;
  }
  for (int64_t window : windows) {
    spec.attention.rope_of_layer.push_back(window > 0 ? RopeUse::kMain : RopeUse::kNone);
  }
}

void RotateWindowsByLocalRope(DecoderSpec& spec) {
  for (int64_t window : spec.attention.windows) {
    spec.attention.rope_of_layer.push_back(window > 0 ? RopeUse::kLocal : RopeUse::kMain);
  }
}

void ReadRotaryDim(ConfigReader& config, DecoderSpec& spec) {
  AttentionSpec& attention = spec.attention;
  attention.rope_interleaved = true;
  attention.rotary_size =
      config.Integer("rotary_dim", {2, attention.head_size}, attention.head_size);
  if (attention.rotary_size % 2 == 0) return;
  config.Fail(absl::StatusCode::kFailedPrecondition, "rotary_dim", "is odd");
  attention.rotary_size = 2;
}

void ReadLatentAttention(ConfigReader& config, DecoderSpec& spec) {
  AttentionSpec& attention = spec.attention;
  attention.num_kv_heads = attention.num_heads;
  attention.latent.query_rank = config.Integer("q_lora_rank", kHiddenBounds, 0);
  attention.latent.kv_rank = config.Integer("kv_lora_rank", kHiddenBounds);
  attention.rotary_begin = config.Integer("qk_nope_head_dim", kHeadSizeBounds);
  attention.rotary_size = config.Integer("qk_rope_head_dim", kHeadSizeBounds);
  attention.value_size = config.Integer("v_head_dim", kHeadSizeBounds);
  attention.head_size = attention.rotary_begin + attention.rotary_size;
  if (attention.rotary_size % 2 != 0) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "qk_rope_head_dim", "is odd");
    attention.rotary_size = 2;
  }
  attention.rope_interleaved = true;
  attention.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(attention.head_size)));
  spec.rope.scales_scores = spec.rope.mscale_all_dim != 0;
}

void ReadMultipliers(ConfigReader& config, DecoderSpec& spec) {
  const auto read = [&](const char* key) {
    return static_cast<float>(config.Number(key, kScaleBounds, 1.0));
  };
  spec.embedding_scale = read("embedding_multiplier");
  spec.residual_scale = read("residual_multiplier");
  spec.attention.scale = read("attention_multiplier");
  spec.logit_scale =
      static_cast<float>(1.0 / config.Number("logits_scaling", NumberBounds{1e-6, 1e6}, 1.0));
}

void ReadMoe(ConfigReader& config, const MoeDefaults& defaults, DecoderSpec& spec) {
  MoeSpec& moe = spec.moe;
  moe.num_experts = config.Integer(
      config.Key({"num_local_experts", "num_experts", "n_routed_experts"}), kExpertBounds);
  moe.experts_per_token = config.Integer(config.Key({"num_experts_per_tok", "experts_per_token"}),
                                         {1, moe.num_experts}, defaults.experts_per_token);
  moe.intermediate_size = config.Integer(
      defaults.own_columns ? "moe_intermediate_size" : "intermediate_size", kColumnBounds);
  moe.renormalise = config.Bool("norm_topk_prob", defaults.renormalise);
  const int64_t dense = config.Integer("first_k_dense_replace", {0, 1 << 20}, 0);
  const int64_t step =
      config.Integer(config.Key({"decoder_sparse_step", "moe_layer_freq"}), {1, 1 << 20}, 1);
  const bool counts_from_one = config.Has("decoder_sparse_step");
  const std::vector<int64_t> only = config.IntegerOrList("mlp_only_layers", {0, 1 << 20});
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool listed = std::find(only.begin(), only.end(), layer) != only.end();
    const bool on_step = (counts_from_one ? layer + 1 : layer) % step == 0;
    moe.on_layer.push_back(layer >= dense && on_step && !listed);
  }
}

void ReadExpertGroups(ConfigReader& config, DecoderSpec& spec) {
  MoeSpec& moe = spec.moe;
  moe.routed_scale = static_cast<float>(config.Number("routed_scaling_factor", kScaleBounds, 1.0));
  moe.num_groups = config.Integer("n_group", kExpertBounds, 1);
  moe.groups_per_token = config.Integer("topk_group", {1, moe.num_groups}, moe.num_groups);
  if (moe.num_experts % moe.num_groups != 0) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "n_group",
                absl::StrCat("is ", moe.num_groups, ", which does not divide the ", moe.num_experts,
                             " experts"));
    moe.num_groups = moe.groups_per_token = 1;
  }
  if (moe.num_experts / moe.num_groups * moe.groups_per_token < moe.experts_per_token) {
    config.Fail(absl::StatusCode::kFailedPrecondition, "topk_group",
                absl::StrCat("is ", moe.groups_per_token, ": its groups have fewer than the ",
                             moe.experts_per_token, " experts of a token"));
  }
  const int64_t shared = config.Integer("n_shared_experts", {0, kExpertBounds.most}, 0);
  moe.shared_columns = shared * moe.intermediate_size;
}

void RequireFlag(ConfigReader& config, const std::string& key, bool only, bool fallback) {
  if (config.Bool(key, fallback) == only) return;
  config.Fail(
      absl::StatusCode::kUnimplemented, key,
      absl::StrCat("is ", only ? "false" : "true", ", supported is ", only ? "true" : "false"));
}

std::vector<NamePattern> Renamed(const std::vector<NamePattern>& base,
                                 const std::vector<NamePattern>& changes) {
  std::vector<NamePattern> names = changes;
  for (const NamePattern& pattern : base) {
    const bool changed = std::any_of(changes.begin(), changes.end(), [&](const NamePattern& other) {
      return other.role == pattern.role;
    });
    if (!changed) names.push_back(pattern);
  }
  return names;
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

const std::vector<NamePattern>& MlpExpertNames() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kRouter, "model.layers.{}.mlp.gate.weight"},
      {TensorRole::kRouterCorrection, "model.layers.{}.mlp.gate.e_score_correction_bias"},
      {TensorRole::kExpertGate, "model.layers.{}.mlp.experts.{e}.gate_proj.weight"},
      {TensorRole::kExpertUp, "model.layers.{}.mlp.experts.{e}.up_proj.weight"},
      {TensorRole::kExpertDown, "model.layers.{}.mlp.experts.{e}.down_proj.weight"},
      {TensorRole::kSharedGate, "model.layers.{}.mlp.shared_experts.gate_proj.weight"},
      {TensorRole::kSharedUp, "model.layers.{}.mlp.shared_experts.up_proj.weight"},
      {TensorRole::kSharedDown, "model.layers.{}.mlp.shared_experts.down_proj.weight"},
  };
  return names;
}

const std::vector<NamePattern>& LlamaNormBiases() {
  static const auto& names = *new std::vector<NamePattern>{
      {TensorRole::kAttentionNormBias, "model.layers.{}.input_layernorm.bias"},
      {TensorRole::kMlpNormBias, "model.layers.{}.post_attention_layernorm.bias"},
      {TensorRole::kFinalNormBias, "model.norm.bias"},
  };
  return names;
}

}  // namespace tessera::shard_loader
