#include "server/text/bpe.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/text/byte_level.h"
#include "server/text/utf8.h"
#include "server/text/word_cache.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

constexpr std::string_view kMarker = "\xE2\x96\x81";  // U+2581, SentencePiece's space

std::atomic<uint64_t> next_instance{1};

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

BpeModel::BpeModel(TokenTable tokens, BpeOptions options)
    : tokens_(std::move(tokens)), options_(std::move(options)), instance_(next_instance++) {
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<unsigned char>(byte);
    const std::string token =
        options_.raw_bytes ? ToUtf8(ByteToChar(value)) : ByteFallbackToken(value);
    byte_ids_[byte] = tokens_.Find(token).value_or(kNoToken);
  }
  for (size_t c = 0; c < 128; ++c) {
    ascii_ids_[c] = tokens_.Find(std::string(1, static_cast<char>(c))).value_or(kNoToken);
  }
}

absl::StatusOr<std::unique_ptr<BpeModel>> BpeModel::Create(TokenTable tokens,
                                                           const std::vector<MergeRule>& rules,
                                                           BpeOptions options) {
  std::vector<RankedRule> ranked;
  ranked.reserve(rules.size());
  for (const MergeRule& rule : rules)
    ranked.push_back({rule, static_cast<uint32_t>(ranked.size())});
  std::unique_ptr<BpeModel> model(new BpeModel(std::move(tokens), std::move(options)));
  RETURN_IF_ERROR(model->AddMerges(ranked));
  model->FindJoints(ranked);
  model->FindWholeWords();
  return model;
}

absl::StatusOr<std::unique_ptr<BpeModel>> BpeModel::CreateFromRanks(
    TokenTable tokens, const std::function<std::optional<uint32_t>(uint32_t)>& rank,
    BpeOptions options) {
  std::vector<RankedRule> ranked;
  for (uint32_t id = 0; id < tokens.size(); ++id) {
    const std::string* text = tokens.Text(id);
    if (text == nullptr || tokens.Find(*text) != id) continue;
    const std::optional<uint32_t> of_token = rank(id);
    if (!of_token) continue;
    for (size_t cut = 1; cut < text->size(); ++cut) {
      if (IsUtf8Continuation(static_cast<unsigned char>((*text)[cut]))) continue;
      MergeRule parts{text->substr(0, cut), text->substr(cut)};
      if (tokens.Find(parts.first) && tokens.Find(parts.second)) {
        ranked.push_back({std::move(parts), *of_token});
      }
    }
  }
  std::unique_ptr<BpeModel> model(new BpeModel(std::move(tokens), std::move(options)));
  RETURN_IF_ERROR(model->AddMerges(ranked));
  model->FindJoints(ranked);
  model->FindWholeWords();
  return model;
}

absl::Status BpeModel::AddMerges(const std::vector<RankedRule>& rules) {
  merges_ = MergeTable(rules.size());
  const size_t prefix = options_.continuing_subword_prefix.size();
  for (const auto& [parts, rank] : rules) {
    const auto& [left, right] = parts;
    if (right.size() < prefix) {
      return absl::InvalidArgumentError(absl::StrCat(
          "merge ", rank, ": '", right, "' is shorter than the continuing_subword_prefix"));
    }
    const std::string result = left + right.substr(prefix);
    const auto left_id = tokens_.Find(left);
    const auto right_id = tokens_.Find(right);
    const auto result_id = tokens_.Find(result);
    if (!left_id || !right_id || !result_id) {
      const std::string& missing = !left_id ? left : !right_id ? right : result;
      return absl::InvalidArgumentError(absl::StrCat("merge ", rank, " ('", left, "' and '", right,
                                                     "'): the token '", missing,
                                                     "' is not in the vocabulary"));
    }
    merges_.Insert(*left_id, *right_id, {rank, *result_id});
  }
  return absl::OkStatus();
}

void BpeModel::FindJoints(const std::vector<RankedRule>& rules) {
  // A marker that is no token may vanish, and make neighbours of what stands around it.
  cut_before_marker_ = tokens_.Find(kMarker).has_value() && !options_.raw_bytes &&
                       options_.continuing_subword_prefix.empty() &&
                       options_.end_of_word_suffix.empty();
  for (const auto& [parts, rank] : rules) {
    const auto& [left, right] = parts;
    // The marker's own bytes may be tokens that merge, too.
    const bool bytes = ByteFallbackValue(std::string_view(left).substr(0, 6)) >= 0 ||
                       ByteFallbackValue(std::string_view(right).substr(0, 6)) >= 0;
    const bool ends_in_marker =
        left.size() >= kMarker.size() &&
        std::string_view(left).substr(left.size() - kMarker.size()) == kMarker;
    if (bytes ||
        (std::string_view(right).substr(0, kMarker.size()) == kMarker && !ends_in_marker)) {
      cut_before_marker_ = false;
      return;
    }
  }
}

void BpeModel::FindWholeWords() {
  constexpr size_t kLongestChecked = 64;
  whole_words_.reserve(tokens_.count());
  std::vector<WordToken> parts;
  for (uint32_t id = 0; id < tokens_.size(); ++id) {
    const std::string* text = tokens_.Text(id);
    if (text == nullptr || tokens_.Find(*text) != id) continue;
    std::optional<std::string> word =
        options_.raw_bytes ? BytesOfPrintable(*text) : std::optional<std::string>(*text);
    if (!word || word->empty()) continue;
    parts.clear();
    const bool sure = word->size() <= kLongestChecked && Merge(*word, 0, &parts).ok() &&
                      parts.size() == 1 && parts[0].id == id;
    if (sure || options_.ignore_merges) whole_words_[*word] = {id, sure};
  }
}

absl::Status BpeModel::Unknown(size_t length, std::vector<BpeSymbol>* row,
                               std::optional<BpeSymbol>* unknown) const {
  if (!options_.unk_token) return absl::OkStatus();  // such characters give no token
  const auto id = tokens_.Find(*options_.unk_token);
  if (!id) {
    return absl::InvalidArgumentError(
        absl::StrCat("the tokenizer's unk_token '", *options_.unk_token,
                     "', needed for this text, is not in its vocabulary"));
  }
  const auto bytes = static_cast<uint32_t>(length);
  if (*unknown && options_.fuse_unk) {
    (*unknown)->length += bytes;
    return absl::OkStatus();
  }
  if (*unknown) row->push_back(**unknown);
  *unknown = BpeSymbol{*id, bytes};
  return absl::OkStatus();
}

bool BpeModel::AddBytes(std::string_view piece, std::vector<BpeSymbol>* row) const {
  for (unsigned char byte : piece) {
    if (byte_ids_[byte] == kNoToken) return false;
  }
  for (unsigned char byte : piece) row->push_back({byte_ids_[byte], 1});
  return true;
}

absl::Status BpeModel::FirstSymbols(std::string_view word, std::vector<BpeSymbol>* row) const {
  row->clear();
  row->reserve(word.size());
  if (options_.raw_bytes) {
    for (unsigned char byte : word) row->push_back({byte_ids_[byte], 1});
    return absl::OkStatus();
  }
  const bool plain =
      options_.continuing_subword_prefix.empty() && options_.end_of_word_suffix.empty();
  std::optional<BpeSymbol> unknown;
  std::string decorated;
  for (size_t pos = 0; pos < word.size();) {
    const size_t length = Utf8Length(static_cast<unsigned char>(word[pos]));
    std::string_view piece = word.substr(pos, length);
    uint32_t id = kNoToken;
    if (plain && length == 1) {
      id = ascii_ids_[static_cast<unsigned char>(piece[0])];
    } else {
      if (!plain) {
        decorated = pos > 0 ? options_.continuing_subword_prefix : "";
        decorated += piece;
        if (pos + length == word.size()) decorated += options_.end_of_word_suffix;
        piece = decorated;
      }
      id = tokens_.Find(piece).value_or(kNoToken);
    }
    pos += length;
    if (id != kNoToken) {
      if (unknown) row->push_back(*unknown);
      unknown.reset();
      row->push_back({id, static_cast<uint32_t>(length)});
    } else if (!options_.byte_fallback || !AddBytes(piece, row)) {
      RETURN_IF_ERROR(Unknown(length, row, &unknown));
    }
  }
  if (unknown) row->push_back(*unknown);
  return absl::OkStatus();
}

absl::Status BpeModel::Merge(std::string_view word, uint32_t offset,
                             std::vector<WordToken>* out) const {
  thread_local std::vector<BpeSymbol> row;
  RETURN_IF_ERROR(FirstSymbols(word, &row));
  MergeSymbols(merges_, &row);
  if (out->empty()) out->reserve(row.size());
  for (const BpeSymbol& symbol : row) {
    out->push_back({symbol.id, offset, offset + symbol.length});
    offset += symbol.length;
  }
  if (row.capacity() > 1'000'000) row = {};
  return absl::OkStatus();
}

absl::Status BpeModel::TokenizeWord(std::string_view word, uint32_t offset,
                                    std::vector<WordToken>* out) const {
  if (const auto whole = whole_words_.find(Absl(word)); whole != whole_words_.end()) {
    out->push_back({whole->second.id, offset, offset + static_cast<uint32_t>(word.size())});
    return absl::OkStatus();
  }
  if (word.size() > WordCache::kLongestWord) return Merge(word, offset, out);
  WordCache& cache = WordCache::OfThread(instance_);
  if (cache.Find(word, offset, out)) return absl::OkStatus();
  const size_t before = out->size();
  RETURN_IF_ERROR(Merge(word, offset, out));
  cache.Insert(word, offset, {out->data() + before, out->size() - before});
  return absl::OkStatus();
}

size_t BpeModel::PartEnd(std::string_view text, size_t begin) const {
  // Runs of markers stay with what follows them.
  size_t pos = begin;
  while (text.substr(pos, kMarker.size()) == kMarker) pos += kMarker.size();
  return std::min(text.find(kMarker, pos), text.size());
}

absl::StatusOr<size_t> BpeModel::Tokenize(std::string_view word,
                                          std::vector<WordToken>* out) const {
  constexpr size_t kEnough = 4096;
  if (word.size() > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError("a text of more than 4 GiB cannot be tokenized");
  }
  if (!cut_before_marker_ || options_.ignore_merges) {
    RETURN_IF_ERROR(TokenizeWord(word, 0, out));
    return word.size();
  }
  size_t begin = 0;
  while (begin < std::min(word.size(), kEnough)) {
    const size_t end = PartEnd(word, begin);
    RETURN_IF_ERROR(
        TokenizeWord(word.substr(begin, end - begin), static_cast<uint32_t>(begin), out));
    begin = end;
  }
  return begin;
}

}  // namespace tessera::server
