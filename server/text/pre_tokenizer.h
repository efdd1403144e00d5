// The pre-tokenizers of tokenizer.json: they cut a text into the words that the model sees.
#ifndef TESSERA_SERVER_TEXT_PRE_TOKENIZER_H_
#define TESSERA_SERVER_TEXT_PRE_TOKENIZER_H_

#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/text/aligned_text.h"

namespace tessera::server {

using WordSink = absl::FunctionRef<absl::Status(const TextView&)>;

// Immutable; thread-safe.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Hands the words of `in` to `sink` in order; empty ones are left out. A word's bytes are valid
  // during the call only. `keep_alignment`: words that are not a piece of `in` carry an alignment.
  virtual absl::Status Split(const TextView& in, bool keep_alignment, WordSink sink) const = 0;
};

// What a pre-tokenizer specification means: `splitter` runs first (nullptr: one word).
struct PreTokenizerPlan {
  std::unique_ptr<PreTokenizer> splitter;
  // The last step, left out of `splitter`, puts words into GPT-2's printable form; a model whose
  // vocabulary is kept as raw bytes can do without it.
  bool ends_in_byte_level = false;
  // Some step asks where its text lies in the input...
  bool asks_origin = false;
  // ... after steps that may have changed it.
  bool needs_alignment = false;
};

// Null gives an empty plan. UNIMPLEMENTED for an unknown type, INVALID_ARGUMENT for a malformed
// one.
absl::StatusOr<PreTokenizerPlan> MakePreTokenizer(const nlohmann::json& spec);

// The step that puts a word into GPT-2's printable form.
std::unique_ptr<PreTokenizer> MakeByteLevelStep();

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_PRE_TOKENIZER_H_
