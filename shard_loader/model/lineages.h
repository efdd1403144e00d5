// What families that descend from one another have in common: fields and names.
#ifndef TESSERA_SHARD_LOADER_MODEL_LINEAGES_H_
#define TESSERA_SHARD_LOADER_MODEL_LINEAGES_H_

#include <cstdint>
#include <vector>

#include "shard_loader/model/config_reader.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/family.h"
#include "shard_loader/model/hugging_face.h"

namespace tessera::shard_loader {

// GPT-2: learned positions, LayerNorm, biases, an MLP without gate; `activation` where the file
// names none.
void ReadGpt2Block(ConfigReader& config, const char* activation, DecoderSpec& spec);
// Queries, keys and values in one tensor, `fused`; matrices [inputs, outputs] where `turned`.
std::vector<NamePattern> Gpt2Names(StoredAs fused, bool turned);

// GPT-J: attention and MLP beside each other after one norm, partial interleaved rope.
void ReadGptjBlock(ConfigReader& config, DecoderSpec& spec);
const std::vector<NamePattern>& GptjNames();

// BLOOM, which Falcon follows: queries, keys and values in one tensor by KV head.
const std::vector<NamePattern>& BloomNames();

// DeepSeek since V2: latent attention, routed and shared experts.
void ReadDeepseekBlock(ConfigReader& config, int64_t context_length, const MoeDefaults& experts,
                       DecoderSpec& spec);
const std::vector<NamePattern>& DeepseekNames();

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_LINEAGES_H_
