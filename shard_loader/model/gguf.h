// GGUF's names and metadata as those of the Hugging Face checkpoint that a file was made from
// (llama.cpp: gguf-py/gguf/constants.py and convert_hf_to_gguf.py).
#ifndef TESSERA_SHARD_LOADER_MODEL_GGUF_H_
#define TESSERA_SHARD_LOADER_MODEL_GGUF_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace tessera::shard_loader {

// What the conversion needs to know of a file.
struct GgufFacts {
  nlohmann::json metadata;  // scalars by key
  int64_t vocab_size = 0;   // rows of token_embd.weight
  bool has_head = true;     // output.weight is there
  bool has_attention_bias = false;
  std::vector<double> rope_factors;  // of rope_freqs.weight; empty: none
};

// A config.json of the same model. UNIMPLEMENTED: an architecture that is not read, experts in one
// that has none here, rope factors that are not Llama 3's. FAILED_PRECONDITION: a value is missing
// or of a wrong type.
absl::StatusOr<std::string> ConfigOfGguf(const GgufFacts& facts, const std::string& file);

// What an architecture's tensors are; by its metadata.
struct GgufArchitecture;
// Null where it is not read.
const GgufArchitecture* FindGgufArchitecture(const nlohmann::json& metadata);

// "blk.0.attn_q.weight" to "model.layers.0.self_attn.q_proj.weight"; others stay as they are. With
// "{e}" in it: of all experts, stacked.
std::string HuggingFaceNameOfGguf(std::string_view name, const GgufArchitecture* architecture);

// Whether the rows of q and k of this architecture pair elements 2i and 2i + 1 of a head, as ggml's
// "normal" rope wants them; Hugging Face pairs i and i + half.
bool GgufInterleavesRope(const GgufArchitecture& architecture);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_GGUF_H_
