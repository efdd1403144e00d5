#include "shard_loader/model/gguf.h"

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

struct Key {
  const char* gguf;  // behind "ARCHITECTURE.", or "blk.N."
  const char* hugging_face;
};

constexpr Key kKeys[] = {
    {"block_count", "num_hidden_layers"},
    {"embedding_length", "hidden_size"},
    {"feed_forward_length", "intermediate_size"},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads"},
    {"attention.key_length", "head_dim"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
    {"context_length", "max_position_embeddings"},
    {"rope.freq_base", "rope_theta"},
};

constexpr Key kMixtralKeys[] = {
    {"expert_count", "num_local_experts"},
    {"expert_used_count", "num_experts_per_tok"},
};

constexpr Key kMixtralNames[] = {
    {"ffn_gate_inp", "block_sparse_moe.gate"},
    {"ffn_gate_exps", "block_sparse_moe.experts.{e}.w1"},
    {"ffn_down_exps", "block_sparse_moe.experts.{e}.w2"},
    {"ffn_up_exps", "block_sparse_moe.experts.{e}.w3"},
};

constexpr Key kQwenMoeKeys[] = {
    {"expert_count", "num_experts"},
    {"expert_used_count", "num_experts_per_tok"},
    {"expert_feed_forward_length", "moe_intermediate_size"},
    {"expert_shared_feed_forward_length", "shared_expert_intermediate_size"},
};

constexpr Key kQwenMoeNames[] = {
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_exps", "mlp.experts.{e}.gate_proj"},
    {"ffn_down_exps", "mlp.experts.{e}.down_proj"},
    {"ffn_up_exps", "mlp.experts.{e}.up_proj"},
    {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"},
    {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"},
    {"ffn_down_shexp", "mlp.shared_expert.down_proj"},
    {"ffn_up_shexp", "mlp.shared_expert.up_proj"},
};

constexpr Key kOlmo2Names[] = {
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
};

constexpr Key kGraniteKeys[] = {
    {"attention.scale", "attention_multiplier"},
    {"embedding_scale", "embedding_multiplier"},
    {"residual_scale", "residual_multiplier"},
    {"logit_scale", "logits_scaling"},
};

constexpr Key kPhi3Names[] = {
    {"attn_qkv", "self_attn.qkv_proj"},
    {"ffn_up", "mlp.gate_up_proj"},
};

}  // namespace

struct GgufArchitecture {
  const char* gguf;
  const char* hugging_face;
  bool interleaves_rope = false;
  bool has_experts = false;
  absl::Span<const Key> keys = {};   // beside kKeys
  absl::Span<const Key> names = {};  // before kLayerNames
  const char* fields = "{}";         // of the configuration, that the file does not say
};

namespace {

const GgufArchitecture kArchitectures[] = {
    {"llama", "LlamaForCausalLM", true},
    {"llama", "MixtralForCausalLM", true, true, kMixtralKeys, kMixtralNames},
    {"qwen2", "Qwen2ForCausalLM"},
    {"qwen2moe", "Qwen2MoeForCausalLM", false, true, kQwenMoeKeys, kQwenMoeNames,
     R"({"norm_topk_prob": false})"},
    {"qwen3", "Qwen3ForCausalLM"},
    {"qwen3moe", "Qwen3MoeForCausalLM", false, true, kQwenMoeKeys, kQwenMoeNames,
     R"({"norm_topk_prob": true})"},
    {"olmo2", "Olmo2ForCausalLM", false, false, {}, kOlmo2Names},
    {"granite", "GraniteForCausalLM", true, false, kGraniteKeys},
    {"phi3", "Phi3ForCausalLM", false, false, {}, kPhi3Names},
};

constexpr Key kNames[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

constexpr Key kLayerNames[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
    {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

// Wavelengths of Llama 3's smooth step; what every published checkpoint of it has.
constexpr double kLowFactor = 1.0;
constexpr double kHighFactor = 4.0;
constexpr double kOriginalContext = 8192.0;

// The factor by which llama3 scaling divides frequency i of `half` (arXiv:2407.21783; transformers'
// _compute_llama3_parameters).
double Llama3Factor(double theta, double factor, size_t i, size_t half) {
  const double wavelength =
      2.0 * M_PI * std::pow(theta, static_cast<double>(i) / static_cast<double>(half));
  if (wavelength < kOriginalContext / kHighFactor) return 1.0;
  if (wavelength > kOriginalContext / kLowFactor) return factor;
  const double smooth = (kOriginalContext / wavelength - kLowFactor) / (kHighFactor - kLowFactor);
  return 1.0 / ((1.0 - smooth) / factor + smooth);
}

std::string NameOf(const json& metadata) {
  const auto value = metadata.find("general.architecture");
  return value != metadata.end() && value->is_string() ? value->get<std::string>() : "";
}

bool HasExperts(const json& metadata) {
  const auto count = metadata.find(NameOf(metadata) + ".expert_count");
  return count != metadata.end() && count->is_number() && count->get<double>() > 0;
}

// Reads the metadata of one architecture.
class Converter {
 public:
  Converter(const GgufFacts& facts, const std::string& file) : facts_(facts), file_(file) {}

  absl::StatusOr<std::string> Convert() {
    RETURN_IF_ERROR(FindArchitecture());
    for (const Key& key : kKeys) {
      if (const json* value = Find(key.gguf); value != nullptr) config_[key.hugging_face] = *value;
    }
    for (const Key& key : architecture_->keys) {
      if (const json* value = Find(key.gguf); value != nullptr) config_[key.hugging_face] = *value;
    }
    config_.update(json::parse(architecture_->fields));
    config_["architectures"] = {architecture_->hugging_face};
    config_["vocab_size"] = facts_.vocab_size;
    config_["tie_word_embeddings"] = !facts_.has_head;
    config_["attention_bias"] = facts_.has_attention_bias;
    RETURN_IF_ERROR(RefuseUnknown());
    TakeWindow();
    TakeTokenIds();
    RETURN_IF_ERROR(TakeRope());
    return config_.dump();
  }

 private:
  const json* Find(const std::string& key) const {
    const auto found = facts_.metadata.find(absl::StrCat(architecture_->gguf, ".", key));
    return found == facts_.metadata.end() ? nullptr : &*found;
  }

  double Number(const std::string& key, double fallback) const {
    const json* value = Find(key);
    return value != nullptr && value->is_number() ? value->get<double>() : fallback;
  }

  absl::Status FindArchitecture() {
    architecture_ = FindGgufArchitecture(facts_.metadata);
    if (architecture_ != nullptr) return absl::OkStatus();
    std::string supported;
    for (const GgufArchitecture& known : kArchitectures) {
      absl::StrAppend(&supported, supported.empty() ? "" : ", ", known.gguf,
                      known.has_experts ? " with experts" : "");
    }
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_, ": GGUF architecture '",
                                                 Excerpt(NameOf(facts_.metadata)), "'",
                                                 HasExperts(facts_.metadata) ? " with experts" : "",
                                                 " is not supported; supported are ", supported));
  }

  absl::Status RefuseUnknown() const {
    const double key_length = Number("attention.key_length", 0);
    const double value_length = Number("attention.value_length", key_length);
    const double rotated = Number("rope.dimension_count", key_length);
    const double heads = Number("attention.head_count", 0);
    if (key_length == 0 && rotated > 0 && rotated * heads != Number("embedding_length", 0)) {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", file_, ": rope turns ", rotated,
                       " elements of a head, not all; supported is all"));
    }
    if (key_length > 0 && (value_length != key_length || rotated != key_length)) {
      return absl::UnimplementedError(absl::StrCat(
          "shard_loader: ", file_, ": key, value and rotary sizes differ (", key_length, ", ",
          value_length, ", ", rotated, "); supported is one for all"));
    }
    return absl::OkStatus();
  }

  // A Llama file with a window is a Mistral one.
  void TakeWindow() {
    const json* window = Find("attention.sliding_window");
    if (window == nullptr || !window->is_number_integer() || window->get<int64_t>() <= 0) return;
    config_["sliding_window"] = *window;
    if (config_["architectures"][0] == "LlamaForCausalLM") {
      config_["architectures"] = {"MistralForCausalLM"};
    }
  }

  void TakeTokenIds() {
    const json& metadata = facts_.metadata;
    if (metadata.contains("tokenizer.ggml.bos_token_id")) {
      config_["bos_token_id"] = metadata["tokenizer.ggml.bos_token_id"];
    }
    json ends = json::array();
    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                            "tokenizer.ggml.eom_token_id"}) {
      if (metadata.contains(key)) ends.push_back(metadata[key]);
    }
    if (!ends.empty()) config_["eos_token_id"] = ends;
  }

  absl::Status TakeRope() {
    if (!facts_.rope_factors.empty()) return TakeRopeFactors();
    const json* type = Find("rope.scaling.type");
    const std::string name = type != nullptr && type->is_string() ? type->get<std::string>() : "";
    const double factor = Number("rope.scaling.factor", Number("rope.scale_linear", 1.0));
    if (name == "none" || (name.empty() && factor == 1.0)) return absl::OkStatus();
    if (!name.empty() && name != "linear") {
      return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_, ": rope scaling '",
                                                   Excerpt(name), "' is not supported in GGUF"));
    }
    config_["rope_scaling"] = {{"rope_type", "linear"}, {"factor", factor}};
    return absl::OkStatus();
  }

  // llama.cpp keeps Llama 3's scaling as one factor per frequency, not as the numbers that it was
  // made from; they are found again, and checked against every factor.
  absl::Status TakeRopeFactors() {
    const std::vector<double>& factors = facts_.rope_factors;
    const double theta = Number("rope.freq_base", 10000.0);
    const double factor = factors.back();
    for (size_t i = 0; i < factors.size(); ++i) {
      const double expected = Llama3Factor(theta, factor, i, factors.size());
      if (std::abs(factors[i] - expected) <= 1e-4 * expected) continue;
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", file_, ": rope_freqs.weight[", i, "] is ", factors[i],
                       ", Llama 3's scaling would have ", expected, "; supported is that only"));
    }
    config_["rope_scaling"] = {
        {"rope_type", "llama3"},
        {"factor", factor},
        {"low_freq_factor", kLowFactor},
        {"high_freq_factor", kHighFactor},
        {"original_max_position_embeddings", static_cast<int64_t>(kOriginalContext)}};
    return absl::OkStatus();
  }

  const GgufFacts& facts_;
  const std::string& file_;
  const GgufArchitecture* architecture_ = nullptr;
  json config_ = json::object();
};

}  // namespace

absl::StatusOr<std::string> ConfigOfGguf(const GgufFacts& facts, const std::string& file) {
  return Converter(facts, file).Convert();
}

const GgufArchitecture* FindGgufArchitecture(const json& metadata) {
  const std::string name = NameOf(metadata);
  const bool has_experts = HasExperts(metadata);
  for (const GgufArchitecture& known : kArchitectures) {
    if (name == known.gguf && has_experts == known.has_experts) return &known;
  }
  return nullptr;
}

std::string HuggingFaceNameOfGguf(std::string_view name, const GgufArchitecture* architecture) {
  const size_t dot = name.rfind('.');
  if (dot == name.npos) return std::string(name);
  const std::string suffix(name.substr(dot));
  std::string_view stem = name.substr(0, dot);
  for (const Key& known : kNames) {
    if (stem == known.gguf) return known.hugging_face + suffix;
  }
  if (!stem.starts_with("blk.")) return std::string(name);
  stem.remove_prefix(4);
  const size_t end = stem.find('.');
  if (end == stem.npos) return std::string(name);
  const std::string layer(stem.substr(0, end));
  const absl::Span<const Key> own =
      architecture == nullptr ? absl::Span<const Key>() : architecture->names;
  for (const absl::Span<const Key> table : {own, absl::MakeConstSpan(kLayerNames)}) {
    for (const Key& known : table) {
      if (stem.substr(end + 1) != known.gguf) continue;
      return absl::StrCat("model.layers.", layer, ".", known.hugging_face, suffix);
    }
  }
  return std::string(name);
}

bool GgufInterleavesRope(const GgufArchitecture& architecture) {
  return architecture.interleaves_rope;
}

}  // namespace tessera::shard_loader
