// Megatron-LM's arguments and names, before Core and Core's, as those of Hugging Face
// (github.com/NVIDIA/Megatron-LM: megatron/training/arguments.py, tools/checkpoint).
#ifndef TESSERA_SHARD_LOADER_MODEL_MEGATRON_H_
#define TESSERA_SHARD_LOADER_MODEL_MEGATRON_H_

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace tessera::shard_loader {

// A config.json of the same model; `args` are the scalars of the checkpoint's `args`.
// UNIMPLEMENTED: a model that no family here is (LayerNorm, learned positions, no SwiGLU, experts).
// FAILED_PRECONDITION: an argument is missing or of a wrong type.
absl::StatusOr<std::string> ConfigOfMegatron(const nlohmann::json& args, const std::string& file);

// What a tensor of a rank is.
enum class MegatronPart {
  kWhole,    // the same on every tensor-parallel rank
  kRows,     // cut along dimension 0
  kColumns,  // cut along dimension 1
  kVocab,    // rows, padded to a multiple at the end
  kQkv,      // rows of q, k and v
  kGateUp,   // rows of gate, then of up, on each rank
  kNothing,  // no weight: extra states of Transformer Engine, rotary buffers
};

struct MegatronName {
  MegatronPart part = MegatronPart::kNothing;
  int64_t layer = -1;  // of the stage; -1: outside of the layers
  // Behind "model.layers.N." for a layer, else whole; of kQkv and kGateUp "weight" or "bias".
  std::string name;
};

// `name` is that in the state dict of the model. UNIMPLEMENTED where it is not known.
absl::StatusOr<MegatronName> HuggingFaceNameOfMegatron(std::string_view name,
                                                       const std::string& file);

// Whether `args` describe a GPT with LayerNorm, learned positions, biases and an MLP without gate,
// which is Hugging Face's GPT-2, and a config.json of it.
bool IsMegatronGpt(const nlohmann::json& args);
std::string ConfigOfMegatronGpt(const nlohmann::json& args);

// The same for such a model: names of GPT-2, behind "transformer.h.N." for a layer. All matrices of
// layers are to be turned.
absl::StatusOr<MegatronName> Gpt2NameOfMegatron(std::string_view name, const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_MEGATRON_H_
