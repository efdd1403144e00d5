#include "shard_loader/model/megatron.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/megatron_names.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

constexpr MegatronRow kNames[] = {
    {"embedding.word_embeddings.weight", "model.embed_tokens.weight", MegatronPart::kVocab},
    {"word_embeddings_for_head.weight", "model.embed_tokens.weight", MegatronPart::kVocab},
    {"output_layer.weight", "lm_head.weight", MegatronPart::kVocab},
    {"final_norm.weight", "model.norm.weight", MegatronPart::kWhole},
    {"final_layernorm.weight", "model.norm.weight", MegatronPart::kWhole},
};

constexpr MegatronRow kLayerNames[] = {
    {"first_norm.weight", "input_layernorm.weight", MegatronPart::kWhole},
    {"second_norm.weight", "post_attention_layernorm.weight", MegatronPart::kWhole},
    {"qkv.weight", "weight", MegatronPart::kQkv},
    {"qkv.bias", "bias", MegatronPart::kQkv},
    {"self_attention.q_layernorm.weight", "self_attn.q_norm.weight", MegatronPart::kWhole},
    {"self_attention.k_layernorm.weight", "self_attn.k_norm.weight", MegatronPart::kWhole},
    {"output.weight", "self_attn.o_proj.weight", MegatronPart::kColumns},
    {"output.bias", "self_attn.o_proj.bias", MegatronPart::kWhole},
    {"up.weight", "weight", MegatronPart::kGateUp},
    {"up.bias", "bias", MegatronPart::kGateUp},
    {"down.weight", "mlp.down_proj.weight", MegatronPart::kColumns},
    {"down.bias", "mlp.down_proj.bias", MegatronPart::kWhole},
};

// Reads the arguments.
class Converter {
 public:
  Converter(const json& args, const std::string& file) : args_(args), file_(file) {}

  absl::StatusOr<std::string> Convert() {
    RETURN_IF_ERROR(RefuseOtherModels());
    const std::pair<const char*, const char*> keys[] = {
        {"num_layers", "num_hidden_layers"},
        {"hidden_size", "hidden_size"},
        {"ffn_hidden_size", "intermediate_size"},
        {"num_attention_heads", "num_attention_heads"},
        {"kv_channels", "head_dim"},
        {"max_position_embeddings", "max_position_embeddings"},
        {"rotary_base", "rope_theta"},
        {"padded_vocab_size", "vocab_size"},
        {"vocab_size", "vocab_size"},  // without the padding, where it is said
        {"layernorm_epsilon", "rms_norm_eps"},
        {"norm_epsilon", "rms_norm_eps"},
    };
    for (const auto& [megatron, hugging_face] : keys) {
      if (Has(megatron)) config_[hugging_face] = args_[megatron];
    }
    if (Flag("group_query_attention") && Has("num_query_groups")) {
      config_["num_key_value_heads"] = args_["num_query_groups"];
    }
    config_["tie_word_embeddings"] = !Flag("untie_embeddings_and_output_weights");
    config_["hidden_act"] = "silu";
    TakeFamily();
    TakeRope();
    return config_.dump();
  }

 private:
  bool Has(const char* key) const { return args_.contains(key) && !args_[key].is_null(); }
  bool Flag(const char* key) const { return Has(key) && args_[key] == true; }

  absl::Status Refuse(const std::string& what) const {
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_, ": args: ", what));
  }

  absl::Status RefuseOtherModels() const {
    if (Has("num_experts")) return Refuse("num_experts is set; experts are not supported");
    if (!Flag("swiglu")) return Refuse("the MLP is not SwiGLU, which is the only one supported");
    if (!Has("normalization") || args_["normalization"] != "RMSNorm" ||
        Flag("apply_layernorm_1p")) {
      return Refuse("normalization is not RMSNorm, which is the only one supported");
    }
    const bool rope =
        Flag("use_rotary_position_embeddings") ||
        (Has("position_embedding_type") && args_["position_embedding_type"] == "rope");
    if (!rope) return Refuse("positions are not rotary, which are the only ones supported");
    if (Has("rotary_percent") && args_["rotary_percent"] != 1.0) {
      return Refuse("rotary_percent is not 1, which is the only one supported");
    }
    return absl::OkStatus();
  }

  void TakeFamily() {
    const bool all_biases = Flag("add_bias_linear");
    const char* architecture = "LlamaForCausalLM";
    if (Flag("qk_layernorm")) {
      architecture = "Qwen3ForCausalLM";
    } else if (Flag("add_qkv_bias") && !all_biases) {
      architecture = "Qwen2ForCausalLM";
    }
    config_["architectures"] = {architecture};
    config_["attention_bias"] = all_biases;
    config_["mlp_bias"] = all_biases;
  }

  void TakeRope() {
    if (Flag("use_rope_scaling")) {
      config_["rope_scaling"] = {
          {"rope_type", "llama3"},
          {"factor", Has("rope_scaling_factor") ? args_["rope_scaling_factor"] : json(8.0)},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 8192}};
    } else if (Has("rotary_seq_len_interpolation_factor")) {
      config_["rope_scaling"] = {{"rope_type", "linear"},
                                 {"factor", args_["rotary_seq_len_interpolation_factor"]}};
    }
  }

  const json& args_;
  const std::string& file_;
  json config_ = json::object();
};

}  // namespace

absl::StatusOr<std::string> ConfigOfMegatron(const json& args, const std::string& file) {
  return Converter(args, file).Convert();
}

absl::StatusOr<MegatronName> HuggingFaceNameOfMegatron(std::string_view name,
                                                       const std::string& file) {
  return FindMegatronName(name, kNames, kLayerNames, "model", file);
}

}  // namespace tessera::shard_loader
