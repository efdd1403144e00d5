// What a framework other than PyTorch calls a weight, as Hugging Face's PyTorch models call it.
#ifndef TESSERA_SHARD_LOADER_MODEL_FOREIGN_NAME_H_
#define TESSERA_SHARD_LOADER_MODEL_FOREIGN_NAME_H_

#include <string>

namespace tessera::shard_loader {

struct ForeignName {
  std::string name;         // "model.layers.0.mlp.up_proj.weight"; empty: no weight of a model
  bool transposed = false;  // a dense layer's kernel, [in, out]
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_FOREIGN_NAME_H_
