// Rotary position embedding as config.json describes it.
#ifndef TESSERA_SHARD_LOADER_MODEL_ROPE_H_
#define TESSERA_SHARD_LOADER_MODEL_ROPE_H_

#include "shard_loader/model/config_reader.h"
#include "shard_loader/model/decoder_spec.h"

namespace tessera::shard_loader {

struct RopeDefaults {
  double theta = 10000.0;
  double partial = 1.0;  // of a head's elements, from the front
  // The part of the elements that is rotated is not read: the family knows it.
  bool whole_head_only = false;
};

// `rope_theta` and `rope_scaling` (its type under `rope_type` or the older key `type`), or
// `rope_parameters`, which holds both in newer files; where it has one entry for each kind of
// layer, full_attention's is spec.rope and sliding_attention's spec.local_rope. Scalings that make
// room for more positions raise spec.context_length. Head size and context must be read already.
// UNIMPLEMENTED for other scalings.
void ReadRope(ConfigReader& config, const RopeDefaults& defaults, DecoderSpec& spec);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_ROPE_H_
