// The BPE model of tokenizer.json.
#ifndef TESSERA_SERVER_TEXT_BPE_H_
#define TESSERA_SERVER_TEXT_BPE_H_

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/text/bpe_merges.h"
#include "server/text/model.h"

namespace tessera::server {

struct BpeOptions {
  std::optional<std::string> unk_token;
  std::string continuing_subword_prefix, end_of_word_suffix;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  // a word that is a token is that token
  // Words come as plain bytes, tokens are in GPT-2's printable form.
  bool raw_bytes = false;
};

// Immutable; thread-safe (words are cached per thread).
class BpeModel : public Model {
 public:
  using MergeRule = std::pair<std::string, std::string>;
  struct RankedRule {
    MergeRule parts;
    uint32_t rank;
  };

  // Best merge first. INVALID_ARGUMENT where a merge names, or makes, a token that is not there.
  static absl::StatusOr<std::unique_ptr<BpeModel>> Create(TokenTable tokens,
                                                          const std::vector<MergeRule>& rules,
                                                          BpeOptions options);
  // For vocabularies whose tokens carry the rank, so that several pairs may share one: every pair
  // of tokens whose bytes together are a token with a rank merges. `rank(id)`: none for tokens that
  // no merge makes.
  static absl::StatusOr<std::unique_ptr<BpeModel>> CreateFromRanks(
      TokenTable tokens, const std::function<std::optional<uint32_t>(uint32_t)>& rank,
      BpeOptions options);

  absl::StatusOr<size_t> Tokenize(std::string_view word,
                                  std::vector<WordToken>* out) const override;
  const TokenTable& tokens() const override { return tokens_; }

 private:
  static constexpr uint32_t kNoToken = 0xFFFFFFFF;
  // A token as a whole word; `sure`: merging the word gives it.
  struct WholeWord {
    uint32_t id;
    bool sure;
  };

  BpeModel(TokenTable tokens, BpeOptions options);
  absl::Status AddMerges(const std::vector<RankedRule>& rules);
  void FindWholeWords();
  void FindJoints(const std::vector<RankedRule>& rules);

  // The row of first symbols of a word.
  absl::Status FirstSymbols(std::string_view word, std::vector<BpeSymbol>* row) const;
  absl::Status Unknown(size_t length, std::vector<BpeSymbol>* row,
                       std::optional<BpeSymbol>* unknown) const;
  bool AddBytes(std::string_view piece, std::vector<BpeSymbol>* row) const;
  absl::Status TokenizeWord(std::string_view word, uint32_t offset,
                            std::vector<WordToken>* out) const;
  absl::Status Merge(std::string_view word, uint32_t offset, std::vector<WordToken>* out) const;
  // The end of the part of `text` from `begin` on behind which no merge reaches.
  size_t PartEnd(std::string_view text, size_t begin) const;

  TokenTable tokens_;
  BpeOptions options_;
  MergeTable merges_;
  uint64_t instance_;                   // tells the caches of different models apart
  std::array<uint32_t, 256> byte_ids_;  // raw_bytes: of the byte; byte_fallback: of <0xHH>
  std::array<uint32_t, 128> ascii_ids_;
  absl::flat_hash_map<std::string, WholeWord> whole_words_;
  // Where no merge has U+2581 at the start of its right side and another character at the end of
  // its left one, a text can be cut before each U+2581 that begins a run.
  bool cut_before_marker_ = false;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_BPE_H_
