// Megatron-LM's GPT (LayerNorm, learned positions, an MLP without gate) as Hugging Face's GPT-2.
#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/model/megatron.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

struct Row {
  const char* megatron;
  const char* hugging_face;
  MegatronPart part;
};

// Of matrices only the parts are cut; GPT-2's are [in, out], so all of them are turned.
constexpr Row kNames[] = {
    {"embedding.word_embeddings.weight", "wte.weight", MegatronPart::kVocab},
    {"word_embeddings_for_head.weight", "wte.weight", MegatronPart::kVocab},
    {"embedding.position_embeddings.weight", "wpe.weight", MegatronPart::kWhole},
    {"final_layernorm.weight", "ln_f.weight", MegatronPart::kWhole},
    {"final_layernorm.bias", "ln_f.bias", MegatronPart::kWhole},
    {"output_layer.weight", "lm_head.weight", MegatronPart::kVocab},
};

constexpr Row kLayerNames[] = {
    {"input_layernorm.weight", "ln_1.weight", MegatronPart::kWhole},
    {"input_layernorm.bias", "ln_1.bias", MegatronPart::kWhole},
    {"self_attention.linear_qkv.layer_norm_weight", "ln_1.weight", MegatronPart::kWhole},
    {"self_attention.linear_qkv.layer_norm_bias", "ln_1.bias", MegatronPart::kWhole},
    {"post_attention_layernorm.weight", "ln_2.weight", MegatronPart::kWhole},
    {"post_attention_layernorm.bias", "ln_2.bias", MegatronPart::kWhole},
    {"pre_mlp_layernorm.weight", "ln_2.weight", MegatronPart::kWhole},
    {"pre_mlp_layernorm.bias", "ln_2.bias", MegatronPart::kWhole},
    {"mlp.linear_fc1.layer_norm_weight", "ln_2.weight", MegatronPart::kWhole},
    {"mlp.linear_fc1.layer_norm_bias", "ln_2.bias", MegatronPart::kWhole},
    {"self_attention.query_key_value.weight", "attn.c_attn.weight", MegatronPart::kQkv},
    {"self_attention.query_key_value.bias", "attn.c_attn.bias", MegatronPart::kQkv},
    {"attention.query_key_value.weight", "attn.c_attn.weight", MegatronPart::kQkv},
    {"attention.query_key_value.bias", "attn.c_attn.bias", MegatronPart::kQkv},
    {"self_attention.linear_qkv.weight", "attn.c_attn.weight", MegatronPart::kQkv},
    {"self_attention.linear_qkv.bias", "attn.c_attn.bias", MegatronPart::kQkv},
    {"self_attention.dense.weight", "attn.c_proj.weight", MegatronPart::kColumns},
    {"self_attention.dense.bias", "attn.c_proj.bias", MegatronPart::kWhole},
    {"attention.dense.weight", "attn.c_proj.weight", MegatronPart::kColumns},
    {"attention.dense.bias", "attn.c_proj.bias", MegatronPart::kWhole},
    {"self_attention.linear_proj.weight", "attn.c_proj.weight", MegatronPart::kColumns},
    {"self_attention.linear_proj.bias", "attn.c_proj.bias", MegatronPart::kWhole},
    {"mlp.dense_h_to_4h.weight", "mlp.c_fc.weight", MegatronPart::kRows},
    {"mlp.dense_h_to_4h.bias", "mlp.c_fc.bias", MegatronPart::kRows},
    {"mlp.linear_fc1.weight", "mlp.c_fc.weight", MegatronPart::kRows},
    {"mlp.linear_fc1.bias", "mlp.c_fc.bias", MegatronPart::kRows},
    {"mlp.dense_4h_to_h.weight", "mlp.c_proj.weight", MegatronPart::kColumns},
    {"mlp.dense_4h_to_h.bias", "mlp.c_proj.bias", MegatronPart::kWhole},
    {"mlp.linear_fc2.weight", "mlp.c_proj.weight", MegatronPart::kColumns},
    {"mlp.linear_fc2.bias", "mlp.c_proj.bias", MegatronPart::kWhole},
};

}  // namespace

bool IsMegatronGpt(const json& args) {
  const auto is = [&](const char* key, const json& value) {
    return args.contains(key) && args[key] == value;
  };
  return !is("swiglu", true) && is("normalization", "LayerNorm") &&
         is("position_embedding_type", "learned_absolute") && !is("apply_layernorm_1p", true) &&
         !is("squared_relu", true) && !is("group_query_attention", true) &&
         is("add_bias_linear", true) && (!args.contains("num_experts"));
}

std::string ConfigOfMegatronGpt(const json& args) {
  json config = {{"architectures", {"GPT2LMHeadModel"}}, {"model_type", "gpt2"}};
  const std::pair<const char*, const char*> keys[] = {
      {"num_layers", "n_layer"},
      {"hidden_size", "n_embd"},
      {"ffn_hidden_size", "n_inner"},
      {"num_attention_heads", "n_head"},
      {"max_position_embeddings", "n_positions"},
      {"padded_vocab_size", "vocab_size"},
      {"vocab_size", "vocab_size"},  // without the padding, where it is said
      {"layernorm_epsilon", "layer_norm_epsilon"},
      {"norm_epsilon", "layer_norm_epsilon"},
  };
  for (const auto& [megatron, hugging_face] : keys) {
    if (args.contains(megatron)) config[hugging_face] = args[megatron];
  }
  const bool tanh = args.contains("openai_gelu") && args["openai_gelu"] == true;
  config["activation_function"] = tanh ? "gelu_new" : "gelu";
  config["tie_word_embeddings"] = !(args.contains("untie_embeddings_and_output_weights") &&
                                    args["untie_embeddings_and_output_weights"] == true);
  return config.dump();
}

absl::StatusOr<MegatronName> Gpt2NameOfMegatron(std::string_view name, const std::string& file) {
  const std::string_view given = name;
  if (name.ends_with("._extra_state")) return MegatronName{};
  for (const std::string_view prefix :
       {"model.", "language_model.", "encoder.", "transformer.", "decoder."}) {
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  }
  for (const Row& row : kNames) {
    if (name != row.megatron) continue;
    const std::string own(row.hugging_face);
    return MegatronName{row.part, -1, own == "lm_head.weight" ? own : "transformer." + own};
  }
  constexpr std::string_view kLayers = "layers.";
  if (name.starts_with(kLayers)) {
    name.remove_prefix(kLayers.size());
    const size_t dot = std::min(name.find('.'), name.size());
    int64_t layer = -1;
    const auto [stop, error] = std::from_chars(name.data(), name.data() + dot, layer);
    const bool is_number = error == std::errc() && stop == name.data() + dot && layer >= 0 &&
                           layer < 1 << 16 && dot < name.size();
    for (const Row& row : kLayerNames) {
      if (is_number && name.substr(dot + 1) == row.megatron) {
        return MegatronName{row.part, layer, row.hugging_face};
      }
    }
  }
  return absl::UnimplementedError(absl::StrCat("shard_loader: ", file, ": tensor '", Excerpt(given),
                                               "' is no weight of a supported Megatron GPT"));
}

}  // namespace tessera::shard_loader
