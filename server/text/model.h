// The models of tokenizer.json: a word to tokens.
#ifndef TESSERA_SERVER_TEXT_MODEL_H_
#define TESSERA_SERVER_TEXT_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/text/token_table.h"

namespace tessera::server {

// A token and the bytes [begin, end) of its word.
struct WordToken {
  uint32_t id;
  uint32_t begin, end;
};

// Immutable; thread-safe.
class Model {
 public:
  virtual ~Model() = default;
  // Appends the tokens of the beginning of a word (not empty, below 4 GiB) to `*out`, and returns
  // its length in bytes. That is the whole word, unless what follows gets the same tokens alone: so
  // that a text that is one word to the model is taken in parts that stay in the CPU's cache.
  virtual absl::StatusOr<size_t> Tokenize(std::string_view word,
                                          std::vector<WordToken>* out) const = 0;
  virtual const TokenTable& tokens() const = 0;
};

// `raw_bytes`: words come as plain bytes although the vocabulary is in GPT-2's printable form; only
// where BpeTakesRawBytes says so.
absl::StatusOr<std::unique_ptr<Model>> MakeModel(const nlohmann::json& spec, bool raw_bytes);

// Whether spec is a byte-level BPE for which raw words give the same tokens.
bool BpeTakesRawBytes(const nlohmann::json& spec);

absl::StatusOr<std::unique_ptr<Model>> MakeUnigram(const nlohmann::json& spec);
absl::StatusOr<std::unique_ptr<Model>> MakeWordPiece(const nlohmann::json& spec);
absl::StatusOr<std::unique_ptr<Model>> MakeWordLevel(const nlohmann::json& spec);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_MODEL_H_
