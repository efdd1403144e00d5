// Meta's own Llama files: params.json and the names of its reference implementation
// (github.com/meta-llama/llama-models, models/llama3/args.py), as those of Hugging Face.
#ifndef TESSERA_SHARD_LOADER_MODEL_META_H_
#define TESSERA_SHARD_LOADER_MODEL_META_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera::shard_loader {

// What params.json does not say.
struct MetaFacts {
  int64_t vocab_size = 0;   // rows of tok_embeddings
  int64_t mlp_columns = 0;  // rows of w1
};

// A config.json of the same model. DATA_LOSS: no JSON object. UNIMPLEMENTED: experts.
absl::StatusOr<std::string> ConfigOfMeta(std::string_view params_json, const MetaFacts& facts);

// How a tensor was cut between the files.
enum class MetaCut { kNone, kRows, kColumns, kByShape };

struct MetaName {
  std::string name;  // Hugging Face's; empty: not one of the model's weights
  MetaCut cut = MetaCut::kNone;
  bool interleaved = false;  // rows of q and k, whose rotary pairs are neighbours
};

MetaName HuggingFaceNameOfMeta(std::string_view name);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_META_H_
