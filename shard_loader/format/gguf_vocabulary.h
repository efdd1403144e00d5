// The tokenizer that a GGUF file carries, as data for who makes a tokenizer of it.
#ifndef TESSERA_SHARD_LOADER_FORMAT_GGUF_VOCABULARY_H_
#define TESSERA_SHARD_LOADER_FORMAT_GGUF_VOCABULARY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/gguf.h"

namespace tessera::shard_loader {

struct GgufVocabulary {
  // tokenizer.ggml.token_type, as numbered in the file.
  enum class Kind : uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

  std::string model;                // "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), ...
  std::string pre_tokenizer;        // "default", "llama-bpe", "qwen2", ...
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // as many as tokens, or none
  std::vector<Kind> kinds;          // likewise
  std::vector<std::string> merges;  // "left right", best first
  std::optional<uint32_t> bos_id, eos_id, eot_id, unk_id, pad_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix;  // absent: the model's default
  std::string chat_template;                               // empty: none
};

// NOT_FOUND: the file carries no tokenizer. DATA_LOSS: its arrays disagree.
absl::StatusOr<GgufVocabulary> ReadVocabulary(const GgufFile& file, const std::string& name);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_GGUF_VOCABULARY_H_
