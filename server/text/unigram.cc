// The Unigram model of tokenizer.json: of all ways to write a word in tokens the one with the
// highest sum of scores (Kudo 2018), found by Viterbi's algorithm.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/text/byte_level.h"
#include "server/text/byte_trie.h"
#include "server/text/json_fields.h"
#include "server/text/model.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

constexpr double kUnknownPenalty = 10.0;

class UnigramModel : public Model {
 public:
  UnigramModel(TokenTable tokens, ByteTrie trie, std::vector<double> scores)
      : tokens_(std::move(tokens)), trie_(std::move(trie)), scores_(std::move(scores)) {
    double lowest = std::numeric_limits<double>::infinity();
    for (double score : scores_) lowest = std::min(lowest, score);
    unknown_score_ = lowest - kUnknownPenalty;
    for (size_t byte = 0; byte < 256; ++byte) {
      byte_ids_.push_back(tokens_.Find(ByteFallbackToken(static_cast<unsigned char>(byte))));
    }
  }
  void set_unknown(std::optional<uint32_t> id) { unknown_ = id; }
  void set_byte_fallback(bool on) { byte_fallback_ = on; }

  absl::StatusOr<size_t> Tokenize(std::string_view word,
                                  std::vector<WordToken>* out) const override;
  const TokenTable& tokens() const override { return tokens_; }

 private:
  // The best way to reach a position; `begin` of its last token is relative to the window.
  struct Node {
    double score = 0;
    uint32_t begin = kUnreached;
    uint32_t id = 0;
  };
  static constexpr uint32_t kUnreached = 0xFFFFFFFF;
  struct Piece {
    size_t begin, end;
    uint32_t id;
    bool unknown;
  };

  absl::Status Step(std::string_view word, size_t window, size_t pos,
                    std::vector<Node>* nodes) const;
  void Backtrack(const std::vector<Node>& nodes, size_t window, size_t length,
                 std::vector<Piece>* pieces) const;
  absl::Status Emit(std::string_view word, const Piece& piece, std::vector<WordToken>* out) const;

  TokenTable tokens_;
  ByteTrie trie_;
  std::vector<double> scores_;  // by id
  std::vector<std::optional<uint32_t>> byte_ids_;
  double unknown_score_;
  std::optional<uint32_t> unknown_;
  bool byte_fallback_ = false;
};

// Tries all tokens that begin at pos; nodes grows to the farthest end.
absl::Status UnigramModel::Step(std::string_view word, size_t window, size_t pos,
                                std::vector<Node>* nodes) const {
  const size_t here = pos - window;
  const double score_here = (*nodes)[here].score;
  const size_t character = Utf8Length(static_cast<unsigned char>(word[pos]));
  bool has_character = false;
  const auto reach = [&](size_t length, double score, uint32_t id) {
    if (here + length >= nodes->size()) nodes->resize(here + length + 1);
    Node& node = (*nodes)[here + length];
    const double total = score + score_here;
    if (node.begin == kUnreached || total > node.score) {
      node = {total, static_cast<uint32_t>(here), id};
    }
  };
  trie_.Prefixes(word.substr(pos), [&](size_t length, uint32_t id) {
    reach(length, scores_[id], id);
    has_character |= length == character;
  });
  if (!has_character) {
    if (!unknown_) {
      return absl::InvalidArgumentError(
          "the text has a character that is not in the tokenizer's vocabulary, which has no "
          "unk_id");
    }
    reach(character, unknown_score_, *unknown_);
  }
  return absl::OkStatus();
}

void UnigramModel::Backtrack(const std::vector<Node>& nodes, size_t window, size_t length,
                             std::vector<Piece>* pieces) const {
  const size_t first = pieces->size();
  for (size_t end = length; end > 0; end = nodes[end].begin) {
    pieces->push_back(
        {window + nodes[end].begin, window + end, nodes[end].id, nodes[end].id == unknown_});
  }
  std::reverse(pieces->begin() + static_cast<ptrdiff_t>(first), pieces->end());
}

absl::Status UnigramModel::Emit(std::string_view word, const Piece& piece,
                                std::vector<WordToken>* out) const {
  const auto begin = static_cast<uint32_t>(piece.begin);
  const auto end = static_cast<uint32_t>(piece.end);
  uint32_t id = piece.id;
  if (piece.unknown) {
    const std::string_view text = word.substr(piece.begin, piece.end - piece.begin);
    if (const auto known = tokens_.Find(text)) {
      id = *known;
    } else if (byte_fallback_) {
      bool all = true;
      for (unsigned char byte : text) all = all && byte_ids_[byte].has_value();
      if (all) {
        for (unsigned char byte : text) out->push_back({*byte_ids_[byte], begin, end});
        return absl::OkStatus();
      }
    }
  }
  out->push_back({id, begin, end});
  return absl::OkStatus();
}

absl::StatusOr<size_t> UnigramModel::Tokenize(std::string_view word,
                                              std::vector<WordToken>* out) const {
  if (word.size() > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError("a text of more than 4 GiB cannot be tokenized");
  }
  thread_local std::vector<Node> nodes;
  thread_local std::vector<Piece> pieces;
  pieces.clear();
  // `window`: every way through the word passes here. Scores go on from there, so that they are
  // rounded as if the word had been searched in one piece.
  size_t window = 0;
  nodes.assign(1, Node());
  for (size_t pos = 0; pos < word.size();
       pos += Utf8Length(static_cast<unsigned char>(word[pos]))) {
    if (pos > window && nodes.size() == pos - window + 1) {
      Backtrack(nodes, window, pos - window, &pieces);
      nodes.assign(1, {.score = nodes.back().score});
      window = pos;
    }
    RETURN_IF_ERROR(Step(word, window, pos, &nodes));
  }
  Backtrack(nodes, window, word.size() - window, &pieces);
  for (size_t i = 0; i < pieces.size();) {
    Piece piece = pieces[i++];
    while (piece.unknown && i < pieces.size() && pieces[i].unknown) piece.end = pieces[i++].end;
    RETURN_IF_ERROR(Emit(word, piece, out));
  }
  return word.size();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeUnigram(const nlohmann::json& spec) {
  ASSIGN_OR_RETURN(const nlohmann::json* vocab, ArrayField(spec, "vocab"));
  if (vocab->size() > kMaxTokenId) {
    return absl::InvalidArgumentError("tokenizer.json: the vocabulary is too large");
  }
  TokenTable tokens;
  std::vector<std::pair<std::string, uint32_t>> entries;
  std::vector<double> scores;
  for (const nlohmann::json& item : *vocab) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number()) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: vocab: entry ", scores.size(),
                                                     " must be a list of a token and its score"));
    }
    const auto id = static_cast<uint32_t>(scores.size());
    RETURN_IF_ERROR(tokens.Add(item[0].get_ref<const std::string&>(), id));
    entries.emplace_back(item[0].get<std::string>(), id);
    scores.push_back(item[1].get<double>());
  }
  std::optional<uint32_t> unknown;
  if (spec.contains("unk_id") && !spec["unk_id"].is_null()) {
    ASSIGN_OR_RETURN(const uint64_t id, NumberField(spec, "unk_id"));
    if (id >= scores.size()) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: unk_id is ", id,
                                                     " but the vocabulary has ", scores.size()));
    }
    unknown = static_cast<uint32_t>(id);
  }
  ASSIGN_OR_RETURN(const bool byte_fallback, BoolField(spec, "byte_fallback", false));
  auto model = std::make_unique<UnigramModel>(std::move(tokens), ByteTrie(std::move(entries)),
                                              std::move(scores));
  model->set_unknown(unknown);
  model->set_byte_fallback(byte_fallback);
  return model;
}

}  // namespace tessera::server
