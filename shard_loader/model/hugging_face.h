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

namespace tessera::shard_loader {

struct CommonDefaults {
  int64_t context_length = 2048;
  std::optional<int64_t> head_size;  // without: hidden_size / num_attention_heads
};

// Sizes, norm, activation, ties, rope and its scaling, score scale; windows are all set to 0.
void ReadCommon(ConfigReader& config, const CommonDefaults& defaults, DecoderSpec& spec);

// Qwen's windows: `sliding_window` where `use_sliding_window`, on the layers that `layer_types`
// names, or without it on those from `max_window_layers` on.
void ReadQwenWindows(ConfigReader& config, DecoderSpec& spec);

// "model.layers.{}.self_attn.q_proj.weight" and so on: Llama and those that follow it.
const std::vector<NamePattern>& LlamaNames();

// Bounds that every model known today keeps far within; they keep products inside 64 bits.
inline constexpr IntegerBounds kLayerBounds{1, 1024};
inline constexpr IntegerBounds kHiddenBounds{1, 1 << 20};
inline constexpr IntegerBounds kHeadBounds{1, 1 << 12};
inline constexpr IntegerBounds kHeadSizeBounds{2, 1 << 12};
inline constexpr IntegerBounds kColumnBounds{1, 1 << 24};
inline constexpr IntegerBounds kVocabBounds{1, 1 << 24};
inline constexpr IntegerBounds kContextBounds{1, 1 << 28};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_HUGGING_FACE_H_
