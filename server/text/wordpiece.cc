// The WordPiece and WordLevel models of tokenizer.json.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/text/json_fields.h"
#include "server/text/model.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

absl::Status NoUnknown(const std::string& token) {
  return absl::InvalidArgumentError(absl::StrCat(
      "a word is not in the tokenizer's vocabulary, and neither is its unk_token '", token, "'"));
}

absl::StatusOr<TokenTable> ReadVocabulary(const nlohmann::json& spec) {
  const auto it = spec.find("vocab");
  if (it == spec.end()) return absl::InvalidArgumentError("tokenizer.json: the model has no vocab");
  return TokenTable::FromObject(*it);
}

// Takes the longest token that the rest of the word begins with, again and again (Wu et al. 2016).
class WordPieceModel : public Model {
 public:
  WordPieceModel(TokenTable tokens, std::string unknown, std::string prefix, uint64_t max_chars)
      : tokens_(std::move(tokens)),
        unknown_(std::move(unknown)),
        prefix_(std::move(prefix)),
        max_chars_(max_chars) {
    for (uint32_t id = 0; id < tokens_.size(); ++id) {
      if (const std::string* text = tokens_.Text(id)) longest_ = std::max(longest_, text->size());
    }
  }

  absl::StatusOr<size_t> Tokenize(std::string_view word,
                                  std::vector<WordToken>* out) const override {
    const size_t before = out->size();
    bool known = CountChars(word) <= max_chars_;
    for (size_t pos = 0; known && pos < word.size();) {
      known = Longest(word, &pos, out);
    }
    if (known) return word.size();
    out->resize(before);
    const auto id = tokens_.Find(unknown_);
    if (!id) return NoUnknown(unknown_);
    out->push_back({*id, 0, static_cast<uint32_t>(word.size())});
    return word.size();
  }
  const TokenTable& tokens() const override { return tokens_; }

 private:
  bool Longest(std::string_view word, size_t* pos, std::vector<WordToken>* out) const {
    std::string candidate = *pos > 0 ? prefix_ : "";
    size_t end = word.size();
    if (end - *pos > longest_) {
      end = *pos + longest_;
      while (end > *pos && IsUtf8Continuation(static_cast<unsigned char>(word[end]))) --end;
    }
    candidate += word.substr(*pos, end - *pos);
    while (end > *pos) {
      if (const auto id = tokens_.Find(candidate)) {
        out->push_back({*id, static_cast<uint32_t>(*pos), static_cast<uint32_t>(end)});
        *pos = end;
        return true;
      }
      const size_t previous = PreviousChar(word, end);
      candidate.resize(candidate.size() - (end - previous));
      end = previous;
    }
    return false;
  }

  TokenTable tokens_;
  std::string unknown_, prefix_;
  uint64_t max_chars_;
  size_t longest_ = 0;  // token, in bytes
};

class WordLevelModel : public Model {
 public:
  WordLevelModel(TokenTable tokens, std::string unknown)
      : tokens_(std::move(tokens)), unknown_(std::move(unknown)) {}
  absl::StatusOr<size_t> Tokenize(std::string_view word,
                                  std::vector<WordToken>* out) const override {
    auto id = tokens_.Find(word);
    if (!id) id = tokens_.Find(unknown_);
    if (!id) return NoUnknown(unknown_);
    out->push_back({*id, 0, static_cast<uint32_t>(word.size())});
    return word.size();
  }
  const TokenTable& tokens() const override { return tokens_; }

 private:
  TokenTable tokens_;
  std::string unknown_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeWordPiece(const nlohmann::json& spec) {
  ASSIGN_OR_RETURN(TokenTable tokens, ReadVocabulary(spec));
  ASSIGN_OR_RETURN(std::string unknown, StringField(spec, "unk_token", "[UNK]"));
  ASSIGN_OR_RETURN(std::string prefix, StringField(spec, "continuing_subword_prefix", "##"));
  ASSIGN_OR_RETURN(const uint64_t max_chars, NumberField(spec, "max_input_chars_per_word", 100));
  return std::make_unique<WordPieceModel>(std::move(tokens), std::move(unknown), std::move(prefix),
                                          max_chars);
}

absl::StatusOr<std::unique_ptr<Model>> MakeWordLevel(const nlohmann::json& spec) {
  ASSIGN_OR_RETURN(TokenTable tokens, ReadVocabulary(spec));
  ASSIGN_OR_RETURN(std::string unknown, StringField(spec, "unk_token", "<unk>"));
  return std::make_unique<WordLevelModel>(std::move(tokens), std::move(unknown));
}

}  // namespace tessera::server
