// What a family file gives: a parser of its config.json fields and its tensor names, as a table.
#ifndef TESSERA_SHARD_LOADER_MODEL_FAMILY_H_
#define TESSERA_SHARD_LOADER_MODEL_FAMILY_H_

#include <string>
#include <vector>

#include "shard_loader/model/config_reader.h"
#include "shard_loader/model/decoder_spec.h"

namespace tessera::shard_loader {

// "{}" in a name stands for the layer.
struct NamePattern {
  TensorRole role;
  const char* name;
};

struct Family {
  const char* name;                        // "llama": model_type, and the name in SUPPORT.md
  std::vector<const char*> architectures;  // of config.json's `architectures`
  void (*parse)(ConfigReader& config, DecoderSpec& spec);  // errors stay in config.status()
  const std::vector<NamePattern>& (*names)();
  const char* covers;  // what of the family is supported, for SUPPORT.md
};

// One per file of this folder.
const Family& LlamaFamily();
const Family& MistralFamily();
const Family& Qwen2Family();
const Family& Qwen3Family();

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_FAMILY_H_
