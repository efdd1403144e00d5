// Text to token ids and back, as the checkpoint's own tokenizer files define it. What
// tokenizer.json means is what the PyPI package `tokenizers` 0.23 makes of it (truncation and
// padding excepted).
#ifndef TESSERA_SERVER_TEXT_TOKENIZER_H_
#define TESSERA_SERVER_TEXT_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/text/vocabulary.h"

namespace tessera::server {

class TokenDecoder;

// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin, end;
};

// A token with the bytes of the input text that it stands for: [begin, end). Tokens that the
// post-processor adds have begin == end.
struct TokenPiece {
  uint32_t id;
  size_t begin, end;
};

struct EncodeOptions {
  bool add_special_tokens = true;  // those of the post-processor, e.g. bos
  // Control tokens written out in the text become their ids; false: they stay plain text. Added
  // tokens that are not special (runs of spaces, say) are always found.
  bool parse_special = true;
};

// Immutable; thread-safe.
class Tokenizer {
 public:
  // Reads what `model_dir` holds, in this order: tokenizer.json, tokenizer.model (SentencePiece, or
  // tiktoken ranks), vocab.json with merges.txt, *.tiktoken. NOT_FOUND where there is none; a
  // malformed file is INVALID_ARGUMENT and names the file; a component that is not known is
  // UNIMPLEMENTED.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(
      const std::filesystem::path& model_dir);
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> FromJson(std::string_view tokenizer_json);
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> FromVocabulary(
      const Vocabulary& vocabulary);

  virtual ~Tokenizer() = default;

  // INVALID_ARGUMENT where `text` is not UTF-8 (names the byte) or where a pattern of the tokenizer
  // needs more steps on this text than a server can give it.
  absl::StatusOr<std::vector<TokenPiece>> Encode(std::string_view text,
                                                 const EncodeOptions& options) const;
  // The same without offsets; faster.
  absl::StatusOr<std::vector<uint32_t>> EncodeIds(std::string_view text,
                                                  const EncodeOptions& options) const;
  // As EncodeIds, but a control token is only found where it lies outside of every range of
  // `plain`: sorted, disjoint byte ranges of `text`.
  absl::StatusOr<std::vector<uint32_t>> EncodeGuarded(std::string_view text,
                                                      bool add_special_tokens,
                                                      absl::Span<const ByteRange> plain) const;

  // Ids that the tokenizer does not know (padding of the model's vocabulary) give no text. Bytes
  // that are no UTF-8 become U+FFFD.
  std::string Decode(absl::Span<const uint32_t> ids, bool skip_special) const;

  // The raw bytes of one token on its own, which may be a part of a character; a leading space is
  // kept. Empty for unknown ids.
  virtual std::string TokenBytes(uint32_t id) const = 0;
  // The token as the vocabulary writes it (byte-level ones in printable form).
  virtual std::string TokenText(uint32_t id) const = 0;
  virtual std::optional<uint32_t> TokenId(std::string_view piece) const = 0;
  virtual bool IsSpecial(uint32_t id) const = 0;
  // One past the highest id.
  virtual uint32_t size() const = 0;

  const SpecialTokens& special_tokens() const { return special_tokens_; }
  std::optional<uint32_t> bos_id() const { return IdOf(special_tokens_.bos_token); }
  std::optional<uint32_t> eos_id() const { return IdOf(special_tokens_.eos_token); }
  std::optional<uint32_t> unk_id() const { return IdOf(special_tokens_.unk_token); }
  std::optional<uint32_t> pad_id() const { return IdOf(special_tokens_.pad_token); }

  // For Detokenizer: how ids become text.
  virtual const TokenDecoder& decoder() const = 0;

 protected:
  struct EncodeRequest {
    std::string_view text;  // valid UTF-8, below 2 GiB
    bool add_special_tokens;
    absl::Span<const ByteRange> plain;  // where control tokens are not looked for
    bool with_offsets;
  };
  struct EncodedText {
    std::vector<uint32_t> ids;
    std::vector<ByteRange> ranges;  // as many as ids, or none where no offsets were asked for
  };
  virtual absl::StatusOr<EncodedText> EncodeText(const EncodeRequest& request) const = 0;

  void set_special_tokens(SpecialTokens tokens) { special_tokens_ = std::move(tokens); }

 private:
  absl::StatusOr<EncodedText> CheckAndEncode(const EncodeRequest& request) const;
  std::optional<uint32_t> IdOf(const std::string& piece) const {
    return piece.empty() ? std::nullopt : TokenId(piece);
  }
  SpecialTokens special_tokens_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_TOKENIZER_H_
