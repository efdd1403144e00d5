// Rotary position embedding as config.json describes it.
#ifndef TESSERA_SHARD_LOADER_MODEL_ROPE_H_
#define TESSERA_SHARD_LOADER_MODEL_ROPE_H_

#include "shard_loader/model/config_reader.h"
#include "shard_loader/model/decoder_spec.h"

namespace tessera::shard_loader {

// `rope_theta` and `rope_scaling` (its type under `rope_type` or the older key `type`), or
// `rope_parameters`, which holds both in newer files. Linear scaling also multiplies
// spec.context_length: the positions that it makes room for. UNIMPLEMENTED for other scalings.
void ReadRope(ConfigReader& config, DecoderSpec& spec);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_ROPE_H_
