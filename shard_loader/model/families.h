// The families that are known, and config.json to one of them.
#ifndef TESSERA_SHARD_LOADER_MODEL_FAMILIES_H_
#define TESSERA_SHARD_LOADER_MODEL_FAMILIES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/model/decoder_spec.h"
#include "shard_loader/model/family.h"

namespace tessera::shard_loader {

// Immutable.
struct Model {
  DecoderSpec spec;
  const Family* family = nullptr;
  std::vector<int64_t> eos_token_ids;  // those inside the vocabulary; may be empty
  int64_t bos_token_id = -1;           // -1: none

  // What the family's table says of a role, in the order in which it is tried.
  std::vector<const NamePattern*> Patterns(TensorRole role) const;
  // The names that the checkpoint may give to a weight: with the family's prefix, and without.
  std::vector<std::string> Names(const NamePattern& pattern, TensorId id, int64_t head = 0) const;
  // The first of them; empty where the family has no such weight.
  std::string ForeignName(TensorId id) const;
};

// In the order of SUPPORT.md.
const std::vector<const Family*>& Families();

// A Hugging Face config.json. DATA_LOSS: no JSON object. FAILED_PRECONDITION: a field is missing,
// of a wrong type or out of bounds. UNIMPLEMENTED: another architecture, activation, rope scaling
// or quantisation, or remote code, which is never run.
absl::StatusOr<Model> ParseConfig(std::string_view config_json);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_FAMILIES_H_
