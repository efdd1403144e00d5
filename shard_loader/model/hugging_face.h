// Fields of config.json and tensor names that many Hugging Face families share. Defaults of absent
// fields are those of the family's configuration class in transformers.
#ifndef TESSERA_SHARD_LOADER_MODEL_HUGGING_FACE_H_
#define TESSERA_SHARD_LOADER_MODEL_HUGGING_FACE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shard_loader/model/config_reader.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/family.h"
#include "shard_loader/model/rope.h"

namespace tessera::shard_loader {

struct CommonDefaults {
  int64_t context_length = 2048;
  std::optional<int64_t> head_size;  // without: hidden_size / num_attention_heads
  bool tied = false;
  const char* activation = "silu";
  double norm_epsilon = 1e-6;
  int64_t columns_per_hidden = 0;  // of the MLP where the file does not say; 0: it must
  bool has_rope = true;
  RopeDefaults rope;
};

// Sizes, activation, ties, rope and its scaling, score scale, under the keys that families use for
// them; windows are all set to 0.
void ReadCommon(ConfigReader& config, const CommonDefaults& defaults, DecoderSpec& spec);

// LayerNorm with weight and, where `bias`, a bias.
NormSpec LayerNormSpec(bool bias);

// The activation of that name. UNIMPLEMENTED for others.
Activation ReadActivation(ConfigReader& config, const std::string& key,
                          const std::string& fallback);

// Qwen's windows: `sliding_window` where `use_sliding_window`, on the layers that `layer_types`
// names, or without it on those from `max_window_layers` on.
void ReadQwenWindows(ConfigReader& config, DecoderSpec& spec);

struct WindowDefaults {
  int64_t window = 0;   // 0: none unless the file has one
  int64_t pattern = 1;  // every so many layers one sees all; 1: all layers do
};

// `sliding_window` on the layers that `layer_types` names, or without it on those that
// `sliding_window_pattern` leaves.
void ReadWindowPattern(ConfigReader& config, const WindowDefaults& defaults, DecoderSpec& spec);

// `sliding_window` on every layer; null: none, absent: `fallback`.
void ReadWindow(ConfigReader& config, int64_t fallback, DecoderSpec& spec);

// Rope on the layers with a window only, where there are windows at all.
void RotateWindowsOnly(DecoderSpec& spec);

// spec.local_rope on the layers with a window, spec.rope on the others.
void RotateWindowsByLocalRope(DecoderSpec& spec);

// `rotary_dim` elements of each head, interleaved; null: all.
void ReadRotaryDim(ConfigReader& config, DecoderSpec& spec);

// The ranks and sizes of DeepSeek's attention, with interleaved rope on a head's last elements.
void ReadLatentAttention(ConfigReader& config, DecoderSpec& spec);

// Granite's multipliers of embeddings, residuals, scores, and the divisor of its logits.
void ReadMultipliers(ConfigReader& config, DecoderSpec& spec);

struct MoeDefaults {
  bool renormalise = false;
  int64_t experts_per_token = 2;
  bool own_columns = true;  // moe_intermediate_size; else intermediate_size
};

// Numbers and sizes of experts, on all layers but the first `first_k_dense_replace`, those between
// `decoder_sparse_step` or `moe_layer_freq`, and `mlp_only_layers`.
void ReadMoe(ConfigReader& config, const MoeDefaults& defaults, DecoderSpec& spec);

// Groups of experts, the scale of their weights and shared experts, as DeepSeek and GLM name them.
void ReadExpertGroups(ConfigReader& config, DecoderSpec& spec);

// Fails where the field is there and not `only`.
void RequireFlag(ConfigReader& config, const std::string& key, bool only, bool fallback);

// "model.layers.{}.self_attn.q_proj.weight" and so on: Llama and those that follow it.
const std::vector<NamePattern>& LlamaNames();

// `base` with other names for the roles of `changes`, and those it did not have.
std::vector<NamePattern> Renamed(const std::vector<NamePattern>& base,
                                 const std::vector<NamePattern>& changes);

// Of experts as Qwen and DeepSeek name them: "model.layers.{}.mlp.experts.{e}.up_proj.weight".
const std::vector<NamePattern>& MlpExpertNames();

// LayerNorm's biases beside LlamaNames().
const std::vector<NamePattern>& LlamaNormBiases();

// Bounds that every model known today keeps far within; they keep products inside 64 bits.
inline constexpr IntegerBounds kLayerBounds{1, 1024};
inline constexpr IntegerBounds kHiddenBounds{1, 1 << 20};
inline constexpr IntegerBounds kHeadBounds{1, 1 << 12};
inline constexpr IntegerBounds kHeadSizeBounds{2, 1 << 12};
inline constexpr IntegerBounds kColumnBounds{1, 1 << 24};
inline constexpr IntegerBounds kVocabBounds{1, 1 << 24};
inline constexpr IntegerBounds kContextBounds{1, 1 << 28};
inline constexpr IntegerBounds kExpertBounds{1, 1 << 12};
inline constexpr NumberBounds kScaleBounds{-1e6, 1e6};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_HUGGING_FACE_H_
