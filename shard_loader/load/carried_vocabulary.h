// The tokenizer that a checkpoint's weight file carries.
#ifndef TESSERA_SHARD_LOADER_LOAD_CARRIED_VOCABULARY_H_
#define TESSERA_SHARD_LOADER_LOAD_CARRIED_VOCABULARY_H_

#include "absl/status/statusor.h"
#include "shard_loader/format/gguf_vocabulary.h"
#include "shard_loader/load/checkpoint.h"

namespace tessera::shard_loader {

// NOT_FOUND: the format carries none, or this file does not. DATA_LOSS: its arrays disagree.
absl::StatusOr<GgufVocabulary> ReadCarriedVocabulary(const Checkpoint& checkpoint);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_LOAD_CARRIED_VOCABULARY_H_
