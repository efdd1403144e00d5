// Names of JAX's parameters as those of Hugging Face's PyTorch models.
#ifndef TESSERA_SHARD_LOADER_MODEL_JAX_H_
#define TESSERA_SHARD_LOADER_MODEL_JAX_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "shard_loader/model/foreign_name.h"

namespace tessera::shard_loader {

// `path` is the keys of a parameter, joined by dots:
// "params.model.layers.0.self_attn.q_proj.kernel". Flax calls the weight of a dense layer "kernel",
// [in, out]; that of an embedding "embedding"; that of a norm "scale" (transformers:
// modeling_flax_pytorch_utils.py). What trainers keep beside the parameters (step, optimizer) has
// no name. UNIMPLEMENTED: names of T5X's and MaxText's own models.
absl::StatusOr<ForeignName> HuggingFaceNameOfFlax(std::string_view path);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_JAX_H_
