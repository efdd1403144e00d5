// A model whose bytes can be counted by hand.
#ifndef TESSERA_TESTS_UNIT_SHARD_LOADER_PLAN_SMALL_SPEC_H_
#define TESSERA_TESTS_UNIT_SHARD_LOADER_PLAN_SMALL_SPEC_H_

#include "shard_loader/model/decoder_spec.h"

namespace tessera::shard_loader {

inline DecoderSpec Spec() {
  DecoderSpec spec;
  spec.num_layers = 4;
  spec.hidden_size = 256;
  spec.vocab_size = 2048;
  spec.context_length = 1024;
  spec.attention.num_heads = 8;
  spec.attention.num_kv_heads = 4;
  spec.attention.head_size = 32;
  spec.attention.windows.assign(4, 0);
  spec.mlp.intermediate_size = 512;
  return spec;
}

}  // namespace tessera::shard_loader

#endif  // TESSERA_TESTS_UNIT_SHARD_LOADER_PLAN_SMALL_SPEC_H_
