#include "shard_loader/model/gguf.h"

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

struct Architecture {
  const char* gguf;
  const char* hugging_face;
  bool interleaves_rope;
};

constexpr Architecture kArchitectures[] = {
    {"llama", "LlamaForCausalLM", true},
    {"qwen2", "Qwen2ForCausalLM", false},
    {"qwen3", "Qwen3ForCausalLM", false},
};

struct Key {
  const char* gguf;  // behind "ARCHITECTURE."
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

// Reads the metadata of one architecture.
class Converter {
 public:
  Converter(const GgufFacts& facts, const std::string& file) : facts_(facts), file_(file) {}

  absl::StatusOr<std::string> Convert() {
    RETURN_IF_ERROR(FindArchitecture());
    for (const Key& key : kKeys) {
      if (const json* value = Find(key.gguf); value != nullptr) config_[key.hugging_face] = *value;
    }
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
    const auto value = facts_.metadata.find("general.architecture");
    const bool named = value != facts_.metadata.end() && value->is_string();
    const std::string name = named ? value->get<std::string>() : "";
    std::string supported;
    for (const Architecture& known : kArchitectures) {
      if (name == known.gguf) architecture_ = &known;
      absl::StrAppend(&supported, supported.empty() ? "" : ", ", known.gguf);
    }
    if (architecture_ != nullptr) return absl::OkStatus();
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_, ": GGUF architecture '",
                                                 Excerpt(name),
                                                 "' is not supported; supported are ", supported));
  }

  absl::Status RefuseUnknown() const {
    if (Number("expert_count", 0) > 0) {
      return absl::UnimplementedError(
          absl::StrCat("shard_loader: ", file_, ": a mixture of experts is not supported in GGUF"));
    }
    const double key_length = Number("attention.key_length", 0);
    const double value_length = Number("attention.value_length", key_length);
    const double rotated = Number("rope.dimension_count", key_length);
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
  const Architecture* architecture_ = nullptr;
  json config_ = json::object();
};

}  // namespace

absl::StatusOr<std::string> ConfigOfGguf(const GgufFacts& facts, const std::string& file) {
  return Converter(facts, file).Convert();
}

std::string HuggingFaceNameOfGguf(std::string_view name) {
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
  for (const Key& known : kLayerNames) {
    if (stem.substr(end + 1) != known.gguf) continue;
    return absl::StrCat("model.layers.", layer, ".", known.hugging_face, suffix);
  }
  return std::string(name);
}

bool GgufInterleavesRope(std::string_view architecture) {
  for (const Architecture& known : kArchitectures) {
    if (architecture == known.gguf) return known.interleaves_rope;
  }
  return false;
}

}  // namespace tessera::shard_loader
