// Names of TensorFlow's variables as those of Hugging Face's PyTorch models.
#ifndef TESSERA_SHARD_LOADER_MODEL_TENSORFLOW_H_
#define TESSERA_SHARD_LOADER_MODEL_TENSORFLOW_H_

#include <string_view>

#include "shard_loader/model/foreign_name.h"

namespace tessera::shard_loader {

// `path` is that of a dataset of tf_model.h5: the group of a layer, then the variable's name in
// the model (transformers: modeling_tf_pytorch_utils.py, convert_tf_weight_name_to_pt_weight_name).
ForeignName HuggingFaceNameOfKeras(std::string_view path);

// `key` is that of a checkpoint's index: a variable's name ("model/h0/attn/c_attn/w", of the first
// GPT-2), or a path of attributes that ends in /.ATTRIBUTES/VARIABLE_VALUE.
ForeignName HuggingFaceNameOfVariable(std::string_view key);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_TENSORFLOW_H_
