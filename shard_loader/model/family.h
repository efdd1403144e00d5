// What a family file gives: a parser of its config.json fields and its tensor names, as a table.
#ifndef TESSERA_SHARD_LOADER_MODEL_FAMILY_H_
#define TESSERA_SHARD_LOADER_MODEL_FAMILY_H_

#include <string>
#include <vector>

#include "shard_loader/model/config_reader.h"
#include "shard_loader/model/decoder_spec.h"

namespace tessera::shard_loader {

// Where a weight of ours lies among the rows of a tensor of the checkpoint.
enum class StoredAs {
  kAlone,
  kBlocks,       // queries, keys, values; or gate, up; or latent, rotated part of the keys
  kGroups,       // for each KV head: its queries, its key, its value
  kCodegen,      // four times: queries, values, keys of a quarter of the heads
  kPairs,        // even rows are gate's, odd ones up's
  kLatentHeads,  // for each head: its key's product of the latent, its value's
};

// In a name "{}" stands for the layer, "{e}" for the expert, "{h}" for the head: a name of an
// expert's weight without "{e}" is that of all experts' weights, one after the other. Several
// patterns for one role are tried in their order.
struct NamePattern {
  TensorRole role;
  const char* name;
  StoredAs stored = StoredAs::kAlone;
  bool transposed = false;  // [inputs, outputs], with the rows above as columns
};

struct Family {
  const char* name;                        // "llama": model_type, and the name in SUPPORT.md
  std::vector<const char*> architectures;  // of config.json's `architectures`
  void (*parse)(ConfigReader& config, DecoderSpec& spec);  // errors stay in config.status()
  const std::vector<NamePattern>& (*names)();
  const char* covers;       // what of the family is supported, for SUPPORT.md
  const char* prefix = "";  // of names, which checkpoints of the bare model leave out
};

// One per file of this folder.
const Family& BloomFamily();
const Family& CodegenFamily();
const Family& CohereFamily();
const Family& Cohere2Family();
const Family& DeepseekV2Family();
const Family& DeepseekV3Family();
const Family& Ernie45Family();
const Family& Exaone4Family();
const Family& FalconFamily();
const Family& GemmaFamily();
const Family& Gemma2Family();
const Family& Gemma3TextFamily();
const Family& GlmFamily();
const Family& Glm4Family();
const Family& Glm4MoeFamily();
const Family& Gpt2Family();
const Family& GptBigcodeFamily();
const Family& GptNeoxFamily();
const Family& GptOssFamily();
const Family& GptjFamily();
const Family& GraniteFamily();
const Family& GranitemoeFamily();
const Family& LlamaFamily();
const Family& MistralFamily();
const Family& MixtralFamily();
const Family& MptFamily();
const Family& NemotronFamily();
const Family& OlmoFamily();
const Family& Olmo2Family();
const Family& Olmo3Family();
const Family& OlmoeFamily();
const Family& OptFamily();
const Family& PhiFamily();
const Family& Phi3Family();
const Family& Qwen2Family();
const Family& Qwen2MoeFamily();
const Family& Qwen3Family();
const Family& Qwen3MoeFamily();
const Family& SeedOssFamily();
const Family& Smollm3Family();
const Family& StablelmFamily();
const Family& Starcoder2Family();

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_FAMILY_H_
