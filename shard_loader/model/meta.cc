#include "shard_loader/model/meta.h"

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

constexpr const char* kFile = "params.json";

struct Row {
  const char* meta;
  const char* hugging_face;
  MetaCut cut;
  bool interleaved = false;
};

// Llama 1 and 2 cut tok_embeddings along the hidden size, Llama 3 along the vocabulary.
constexpr Row kNames[] = {
    {"tok_embeddings.weight", "model.embed_tokens.weight", MetaCut::kByShape},
    {"norm.weight", "model.norm.weight", MetaCut::kNone},
    {"output.weight", "lm_head.weight", MetaCut::kRows},
};

constexpr Row kLayerNames[] = {
    {"attention.wq.weight", "self_attn.q_proj.weight", MetaCut::kRows, true},
    {"attention.wk.weight", "self_attn.k_proj.weight", MetaCut::kRows, true},
    {"attention.wv.weight", "self_attn.v_proj.weight", MetaCut::kRows},
    {"attention.wo.weight", "self_attn.o_proj.weight", MetaCut::kColumns},
    {"feed_forward.w1.weight", "mlp.gate_proj.weight", MetaCut::kRows},
    {"feed_forward.w2.weight", "mlp.down_proj.weight", MetaCut::kColumns},
    {"feed_forward.w3.weight", "mlp.up_proj.weight", MetaCut::kRows},
    {"attention_norm.weight", "input_layernorm.weight", MetaCut::kNone},
    {"ffn_norm.weight", "post_attention_layernorm.weight", MetaCut::kNone},
};

constexpr double kLlama3Theta = 500000.0;
constexpr int64_t kLlama3Vocab = 128256;

// Positions of the first training, which params.json leaves to its reader.
int64_t ContextOf(const json& params, bool scaled, double theta) {
  if (params.contains("max_seq_len") && params["max_seq_len"].is_number_integer()) {
    return params["max_seq_len"].get<int64_t>();
  }
  if (scaled) return 131072;
  if (theta >= kLlama3Theta) return 8192;
  const double epsilon = params.contains("norm_eps") && params["norm_eps"].is_number()
                             ? params["norm_eps"].get<double>()
                             : 1e-5;
  return epsilon < 5e-6 ? 2048 : 4096;  // Llama 1 and Llama 2
}

// llama-models, models/llama3/model.py: apply_scaling.
json ScalingOf(const json& params) {
  double factor = 8.0;
  if (params.contains("rope_scaling_factor") && params["rope_scaling_factor"].is_number()) {
    factor = params["rope_scaling_factor"].get<double>();
  }
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 8192}};
}

void SetTokenIds(int64_t vocab_size, double theta, json& config) {
  if (vocab_size >= kLlama3Vocab) {  // <|begin_of_text|>; <|end_of_text|>, eom and eot
    config["bos_token_id"] = 128000;
    config["eos_token_id"] = {128001, 128008, 128009};
  } else if (theta < kLlama3Theta) {  // SentencePiece: <s> and </s>
    config["bos_token_id"] = 1;
    config["eos_token_id"] = 2;
  }
}

}  // namespace

absl::StatusOr<std::string> ConfigOfMeta(std::string_view params_json, const MetaFacts& facts) {
  ASSIGN_OR_RETURN(const json params, ParseJsonObject(params_json, kFile));
  if (params.contains("moe") || params.contains("moe_args")) {
    return absl::UnimplementedError(
        absl::StrCat("shard_loader: ", kFile, ": a mixture of experts is not supported"));
  }
  json config = {{"architectures", {"LlamaForCausalLM"}},
                 {"vocab_size", facts.vocab_size},
                 {"intermediate_size", facts.mlp_columns},
                 {"tie_word_embeddings", false}};
  const std::pair<const char*, const char*> keys[] = {
      {"dim", "hidden_size"},
      {"n_layers", "num_hidden_layers"},
      {"n_heads", "num_attention_heads"},
      {"n_kv_heads", "num_key_value_heads"},
      {"norm_eps", "rms_norm_eps"},
      {"rope_theta", "rope_theta"},
      {"head_dim", "head_dim"},
  };
  for (const auto& [meta, hugging_face] : keys) {
    if (params.contains(meta) && !params[meta].is_null()) config[hugging_face] = params[meta];
  }
  if (!config.contains("rms_norm_eps")) config["rms_norm_eps"] = 1e-5;
  const bool has_theta = config.contains("rope_theta") && config["rope_theta"].is_number();
  const double theta = has_theta ? config["rope_theta"].get<double>() : 10000.0;
  const bool scaled = params.contains("use_scaled_rope") && params["use_scaled_rope"] == true;
  if (scaled) config["rope_scaling"] = ScalingOf(params);
  config["max_position_embeddings"] = ContextOf(params, scaled, theta);
  SetTokenIds(facts.vocab_size, theta, config);
  return config.dump();
}

MetaName HuggingFaceNameOfMeta(std::string_view name) {
  for (const Row& row : kNames) {
    if (name == row.meta) return {row.hugging_face, row.cut, row.interleaved};
  }
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(kLayers)) return {};
  name.remove_prefix(kLayers.size());
  const size_t dot = name.find('.');
  if (dot == name.npos) return {};
  for (const Row& row : kLayerNames) {
    if (name.substr(dot + 1) != row.meta) continue;
    return {absl::StrCat("model.layers.", std::string(name.substr(0, dot)), ".", row.hugging_face),
            row.cut, row.interleaved};
  }
  return {};
}

}  // namespace tessera::shard_loader
