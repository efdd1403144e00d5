// Megatron-LM's GPT (LayerNorm, learned positions, an MLP without gate) as Hugging Face's GPT-2.
#include <utility>

#include "shard_loader/model/megatron.h"
#include "shard_loader/model/megatron_names.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

// Of matrices only the parts are cut; GPT-2's are [in, out], so all of them are turned.
constexpr MegatronRow kNames[] = {
    {"embedding.word_embeddings.weight", "transformer.wte.weight", MegatronPart::kVocab},
    {"word_embeddings_for_head.weight", "transformer.wte.weight", MegatronPart::kVocab},
    {"embedding.position_embeddings.weight", "transformer.wpe.weight", MegatronPart::kWhole},
    {"final_layernorm.weight", "transformer.ln_f.weight", MegatronPart::kWhole},
    {"final_layernorm.bias", "transformer.ln_f.bias", MegatronPart::kWhole},
    {"output_layer.weight", "lm_head.weight", MegatronPart::kVocab},
};

constexpr MegatronRow kLayerNames[] = {
    {"first_norm.weight", "ln_1.weight", MegatronPart::kWhole},
    {"first_norm.bias", "ln_1.bias", MegatronPart::kWhole},
    {"second_norm.weight", "ln_2.weight", MegatronPart::kWhole},
    {"second_norm.bias", "ln_2.bias", MegatronPart::kWhole},
    {"qkv.weight", "attn.c_attn.weight", MegatronPart::kQkv},
    {"qkv.bias", "attn.c_attn.bias", MegatronPart::kQkv},
    {"output.weight", "attn.c_proj.weight", MegatronPart::kColumns},
    {"output.bias", "attn.c_proj.bias", MegatronPart::kWhole},
    {"up.weight", "mlp.c_fc.weight", MegatronPart::kRows},
    {"up.bias", "mlp.c_fc.bias", MegatronPart::kRows},
    {"down.weight", "mlp.c_proj.weight", MegatronPart::kColumns},
    {"down.bias", "mlp.c_proj.bias", MegatronPart::kWhole},
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
  return FindMegatronName(name, kNames, kLayerNames, "GPT", file);
}

}  // namespace tessera::shard_loader
