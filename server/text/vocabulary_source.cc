// A vocabulary handed over as data.
#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "server/text/bpe.h"
#include "server/text/byte_level.h"
#include "server/text/other_sources.h"
#include "server/text/pipeline_tokenizer.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

using Kind = Vocabulary::Kind;
constexpr char kMarker[] = "\xE2\x96\x81";  // U+2581, SentencePiece's space

Kind KindOf(const Vocabulary& vocabulary, size_t id) {
  return vocabulary.kinds.empty() ? Kind::kNormal : vocabulary.kinds[id];
}

absl::Status Check(const Vocabulary& vocabulary) {
  const size_t size = vocabulary.tokens.size();
  const auto fits = [size](const auto& list) { return list.empty() || list.size() == size; };
  if (size == 0 || size > kMaxTokenId || !fits(vocabulary.scores) || !fits(vocabulary.kinds)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the vocabulary has ", size, " tokens, ", vocabulary.scores.size(), " scores and ",
        vocabulary.kinds.size(), " kinds; expected as many of each, or none"));
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenTable> Table(const Vocabulary& vocabulary) {
  TokenTable table;
  // From the end, so that of equal tokens the first keeps its id.
  for (size_t id = vocabulary.tokens.size(); id-- > 0;) {
    RETURN_IF_ERROR(table.Add(vocabulary.tokens[id], static_cast<uint32_t>(id)));
  }
  return table;
}

// Tokens that are looked for in the text as they are.
std::vector<AddedToken> WholeTokens(const Vocabulary& vocabulary) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const Kind kind = KindOf(vocabulary, id);
    if (kind != Kind::kControl && kind != Kind::kUserDefined && kind != Kind::kUnknown) continue;
    AddedToken token;
    token.content = vocabulary.tokens[id];
    token.id = static_cast<uint32_t>(id);
    token.normalized = false;
    token.special = kind != Kind::kUserDefined;
    added.push_back(std::move(token));
  }
  return added;
}

absl::StatusOr<PipelineTokenizer::Parts> ByteLevelBpe(const Vocabulary& vocabulary) {
  PipelineTokenizer::Parts parts;
  ASSIGN_OR_RETURN(const std::string pattern, SplitPatternNamed(vocabulary.pre_tokenizer));
  ASSIGN_OR_RETURN(parts.pre_tokenizer, MakePreTokenizer(ByteLevelSpec(pattern)));
  ASSIGN_OR_RETURN(parts.decoder, MakeDecodePlan({{"type", "ByteLevel"}}));
  std::vector<BpeModel::MergeRule> rules;
  for (const std::string& merge : vocabulary.merges) {
    const size_t space = merge.find(' ', 1);
    if (space == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("merge ", rules.size(), " must be two tokens with a space between them"));
    }
    rules.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  ASSIGN_OR_RETURN(TokenTable table, Table(vocabulary));
  BpeOptions options;
  options.raw_bytes = true;
  for (int byte = 0; byte < 256; ++byte) {
    options.raw_bytes &=
        table.Find(PrintableOfBytes(std::string(1, static_cast<char>(byte)))).has_value();
  }
  parts.raw_bytes = options.raw_bytes;
  options.ignore_merges =
      vocabulary.pre_tokenizer == "llama-bpe" || vocabulary.pre_tokenizer == "llama3";
  ASSIGN_OR_RETURN(parts.model, BpeModel::Create(std::move(table), rules, std::move(options)));
  return parts;
}

// Best score first; equal scores share a rank.
std::vector<uint32_t> RanksByScore(const std::vector<float>& scores) {
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  std::vector<uint32_t> ranks(scores.size());
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && scores[order[i]] != scores[order[i - 1]]) ++rank;
    ranks[order[i]] = rank;
  }
  return ranks;
}

absl::Status AddSentencePieceParts(const Vocabulary& vocabulary, PipelineTokenizer::Parts* parts) {
  nlohmann::json normalizers = nlohmann::json::array();
  nlohmann::json decoders = {
      {{"type", "Replace"}, {"pattern", {{"String", kMarker}}}, {"content", " "}},
      {{"type", "ByteFallback"}},
      {{"type", "Fuse"}}};
  if (vocabulary.add_space_prefix) {
    normalizers.push_back({{"type", "Prepend"}, {"prepend", kMarker}});
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  normalizers.push_back(
      {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMarker}});
  ASSIGN_OR_RETURN(parts->normalizer,
                   MakeNormalizer({{"type", "Sequence"}, {"normalizers", normalizers}}));
  ASSIGN_OR_RETURN(parts->decoder, MakeDecodePlan({{"type", "Sequence"}, {"decoders", decoders}}));
  return absl::OkStatus();
}

absl::StatusOr<PipelineTokenizer::Parts> SentencePieceBpe(const Vocabulary& vocabulary) {
  PipelineTokenizer::Parts parts;
  RETURN_IF_ERROR(AddSentencePieceParts(vocabulary, &parts));
  if (vocabulary.scores.empty()) return absl::InvalidArgumentError("the vocabulary has no scores");
  ASSIGN_OR_RETURN(TokenTable table, Table(vocabulary));
  BpeOptions options;
  options.byte_fallback = true;
  options.fuse_unk = true;
  if (vocabulary.unk_id && *vocabulary.unk_id < vocabulary.tokens.size()) {
    options.unk_token = vocabulary.tokens[*vocabulary.unk_id];
  }
  const std::vector<uint32_t> ranks = RanksByScore(vocabulary.scores);
  const auto rank = [&](uint32_t id) -> std::optional<uint32_t> {
    if (KindOf(vocabulary, id) != Kind::kNormal) return std::nullopt;
    return ranks[id];
  };
  ASSIGN_OR_RETURN(parts.model,
                   BpeModel::CreateFromRanks(std::move(table), rank, std::move(options)));
  return parts;
}

absl::StatusOr<PipelineTokenizer::Parts> Unigram(const Vocabulary& vocabulary) {
  PipelineTokenizer::Parts parts;
  RETURN_IF_ERROR(AddSentencePieceParts(vocabulary, &parts));
  if (vocabulary.scores.empty()) return absl::InvalidArgumentError("the vocabulary has no scores");
  nlohmann::json vocab = nlohmann::json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    vocab.push_back({vocabulary.tokens[id], vocabulary.scores[id]});
  }
  nlohmann::json spec = {{"type", "Unigram"}, {"vocab", std::move(vocab)}, {"byte_fallback", true}};
  if (vocabulary.unk_id) spec["unk_id"] = *vocabulary.unk_id;
  ASSIGN_OR_RETURN(parts.model, MakeModel(spec, false));
  return parts;
}

absl::StatusOr<PipelineTokenizer::Parts> PartsOf(const Vocabulary& vocabulary) {
  switch (vocabulary.model) {
    case Vocabulary::Model::kByteLevelBpe:
      return ByteLevelBpe(vocabulary);
    case Vocabulary::Model::kSentencePieceBpe:
      return SentencePieceBpe(vocabulary);
    case Vocabulary::Model::kUnigram:
      return Unigram(vocabulary);
    case Vocabulary::Model::kWordPiece:
      break;
  }
  return absl::UnimplementedError(
      "WordPiece vocabularies are read from tokenizer.json only; put one beside the model");
}

std::string NameOf(const Vocabulary& vocabulary, std::optional<uint32_t> id) {
  return id && *id < vocabulary.tokens.size() ? vocabulary.tokens[*id] : "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::FromVocabulary(
    const Vocabulary& vocabulary) {
  RETURN_IF_ERROR(Check(vocabulary));
  ASSIGN_OR_RETURN(PipelineTokenizer::Parts parts, PartsOf(vocabulary));
  parts.added = WholeTokens(vocabulary);
  ASSIGN_OR_RETURN(auto tokenizer, PipelineTokenizer::Create(std::move(parts)));
  SpecialTokens names;
  names.bos_token = NameOf(vocabulary, vocabulary.bos_id);
  names.eos_token = NameOf(vocabulary, vocabulary.eos_id);
  names.unk_token = NameOf(vocabulary, vocabulary.unk_id);
  names.pad_token = NameOf(vocabulary, vocabulary.pad_id);
  tokenizer->NameSpecialTokens(std::move(names));
  tokenizer->SurroundWith(vocabulary.add_bos ? vocabulary.bos_id : std::nullopt,
                          vocabulary.add_eos ? vocabulary.eos_id : std::nullopt);
  return tokenizer;
}

}  // namespace tessera::server
