// Tokenizers of checkpoints that have no tokenizer.json.
#ifndef TESSERA_SERVER_TEXT_OTHER_SOURCES_H_
#define TESSERA_SERVER_TEXT_OTHER_SOURCES_H_

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "server/text/tokenizer.h"

namespace tessera::server {

// What the files beside the vocabulary say. `config`: tokenizer_config.json, or null.
struct SourceContext {
  SpecialTokens names;
  nlohmann::json config;
};

// A SentencePiece model (the bytes of tokenizer.model).
absl::StatusOr<std::unique_ptr<const Tokenizer>> FromSentencePiece(std::string_view model,
                                                                   const SourceContext& context);
// Ranks in tiktoken's form: per line a token in base64 and its rank. Cut as Llama 3 does, or as
// Qwen does for files named qwen.tiktoken.
absl::StatusOr<std::unique_ptr<const Tokenizer>> FromTiktoken(std::string_view ranks, bool qwen,
                                                              const SourceContext& context);
// GPT-2's two files.
absl::StatusOr<std::unique_ptr<const Tokenizer>> FromVocabAndMerges(const std::string& vocab_json,
                                                                    const std::string& merges,
                                                                    const SourceContext& context);

// The pattern that a byte-level tokenizer cuts text with, by the name that GGUF gives it;
// UNIMPLEMENTED for unknown names.
absl::StatusOr<std::string> SplitPatternNamed(std::string_view name);

// {"type": "Sequence"...}: a Split by `pattern`, then ByteLevel.
nlohmann::json ByteLevelSpec(std::string_view pattern);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_OTHER_SOURCES_H_
