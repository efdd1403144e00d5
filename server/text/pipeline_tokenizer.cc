#include "server/text/pipeline_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/json_fields.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// Puts words into printable form behind another pre-tokenizer, for models that do not take bytes.
class WithByteLevel : public PreTokenizer {
 public:
  explicit WithByteLevel(std::unique_ptr<PreTokenizer> first)
      : first_(std::move(first)), byte_level_(MakeByteLevelStep()) {}
  absl::Status Split(const TextView& in, bool keep_alignment, WordSink sink) const override {
    if (first_ == nullptr) return byte_level_->Split(in, keep_alignment, sink);
    return first_->Split(in, keep_alignment, [&](const TextView& word) {
      return byte_level_->Split(word, keep_alignment, sink);
    });
  }

 private:
  std::unique_ptr<PreTokenizer> first_, byte_level_;
};

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const nlohmann::json& spec) {
  std::vector<AddedToken> tokens;
  const auto it = spec.find("added_tokens");
  if (it == spec.end() || it->is_null()) return tokens;
  if (!it->is_array()) {
    return absl::InvalidArgumentError("tokenizer.json: added_tokens must be a list");
  }
  for (const nlohmann::json& item : *it) {
    if (!item.is_object()) {
      return absl::InvalidArgumentError("tokenizer.json: an added token must be an object");
    }
    AddedToken token;
    ASSIGN_OR_RETURN(token.content, StringField(item, "content"));
    ASSIGN_OR_RETURN(token.single_word, BoolField(item, "single_word", false));
    ASSIGN_OR_RETURN(token.lstrip, BoolField(item, "lstrip", false));
    ASSIGN_OR_RETURN(token.rstrip, BoolField(item, "rstrip", false));
    ASSIGN_OR_RETURN(token.special, BoolField(item, "special", false));
    ASSIGN_OR_RETURN(token.normalized, BoolField(item, "normalized", !token.special));
    ASSIGN_OR_RETURN(const uint64_t id, NumberField(item, "id"));
    if (id > kMaxTokenId) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.json: the added token '", token.content, "' has the id ", id));
    }
    token.id = static_cast<uint32_t>(id);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

const nlohmann::json& FieldOrNull(const nlohmann::json& spec, const char* name) {
  static const nlohmann::json null;
  const auto it = spec.find(name);
  return it == spec.end() ? null : *it;
}

}  // namespace

PipelineTokenizer::PipelineTokenizer(Parts parts)
    : normalizer_(std::move(parts.normalizer)),
      splitter_(std::move(parts.pre_tokenizer.splitter)),
      always_align_(parts.pre_tokenizer.needs_alignment ||
                    (parts.pre_tokenizer.asks_origin && normalizer_ != nullptr)),
      model_(std::move(parts.model)),
      post_processor_(std::move(parts.post_processor)),
      decoder_(std::move(parts.decoder)) {
  if (parts.pre_tokenizer.ends_in_byte_level && !parts.raw_bytes) {
    splitter_ = std::make_unique<WithByteLevel>(std::move(splitter_));
  }
}

absl::StatusOr<std::unique_ptr<PipelineTokenizer>> PipelineTokenizer::Create(Parts parts) {
  const std::vector<AddedToken> added = std::move(parts.added);
  std::unique_ptr<PipelineTokenizer> tokenizer(new PipelineTokenizer(std::move(parts)));
  RETURN_IF_ERROR(tokenizer->AddTokens(added));
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<PipelineTokenizer>> PipelineTokenizer::FromJson(
    const nlohmann::json& spec) {
  if (!spec.is_object()) {
    return absl::InvalidArgumentError("tokenizer.json: the file must hold an object");
  }
  const nlohmann::json& version = FieldOrNull(spec, "version");
  if (!version.is_null() && version != "1.0") {
    return absl::UnimplementedError(absl::StrCat("tokenizer.json: version ", version.dump(),
                                                 "; this program reads version \"1.0\""));
  }
  Parts parts;
  ASSIGN_OR_RETURN(parts.normalizer, MakeNormalizer(FieldOrNull(spec, "normalizer")));
  ASSIGN_OR_RETURN(parts.pre_tokenizer, MakePreTokenizer(FieldOrNull(spec, "pre_tokenizer")));
  const nlohmann::json& model = FieldOrNull(spec, "model");
  parts.raw_bytes = parts.pre_tokenizer.ends_in_byte_level && BpeTakesRawBytes(model);
  ASSIGN_OR_RETURN(parts.model, MakeModel(model, parts.raw_bytes));
  ASSIGN_OR_RETURN(parts.post_processor, MakePostProcessor(FieldOrNull(spec, "post_processor")));
  ASSIGN_OR_RETURN(parts.decoder, MakeDecodePlan(FieldOrNull(spec, "decoder")));
  ASSIGN_OR_RETURN(parts.added, ReadAddedTokens(spec));
  return Create(std::move(parts));
}

// Ids as the `tokenizers` library gives them: the model's, else one behind all others.
absl::Status PipelineTokenizer::AddTokens(const std::vector<AddedToken>& tokens) {
  const auto model_count = static_cast<uint32_t>(model_->tokens().count());
  uint32_t next = model_count;
  std::vector<std::string> normalized;
  for (AddedToken token : tokens) {
    if (token.content.empty()) continue;
    if (const auto id = TokenId(token.content)) {
      token.id = *id;
    } else {
      token.id = next;
    }
    if (token.id > kMaxTokenId) {
      return absl::InvalidArgumentError("tokenizer.json: too many added tokens");
    }
    next = std::max(next, token.id + 1);
    std::string content = token.content;
    if (token.normalized && normalizer_ != nullptr) {
      AlignedText out;
      ASSIGN_OR_RETURN(const bool changed, normalizer_->Apply({token.content}, false, &out));
      if (changed) content = out.text;
    }
    normalized.push_back(std::move(content));
    added_.Add(std::move(token));
  }
  added_.Build(normalized);
  FillDecoder(normalized);
  return absl::OkStatus();
}

void PipelineTokenizer::FillDecoder(const std::vector<std::string>& normalized) {
  const TokenTable& tokens = model_->tokens();
  for (uint32_t id = 0; id < tokens.size(); ++id) {
    const std::string* text = tokens.Text(id);
    if (text != nullptr) decoder_.Add(id, *text, added_.IsSpecial(*text));
  }
  // Tokens that are looked for in normalized text come back as that text, as in the library.
  for (size_t i = 0; i < added_.tokens().size(); ++i) {
    decoder_.Add(added_.tokens()[i].id, normalized[i], added_.IsSpecial(normalized[i]));
  }
}

void PipelineTokenizer::NameSpecialTokens(SpecialTokens tokens) {
  for (const std::string* token :
       {&tokens.bos_token, &tokens.eos_token, &tokens.unk_token, &tokens.pad_token,
        &tokens.sep_token, &tokens.cls_token, &tokens.mask_token}) {
    if (!token->empty()) added_.MarkControl(*token);
  }
  for (const std::string& token : tokens.additional) added_.MarkControl(token);
  set_special_tokens(std::move(tokens));
}

void PipelineTokenizer::SurroundWith(std::optional<uint32_t> before,
                                     std::optional<uint32_t> after) {
  post_processor_ = {};
  if (before) post_processor_.before.push_back(*before);
  if (after) post_processor_.after.push_back(*after);
}

std::string PipelineTokenizer::TokenText(uint32_t id) const {
  if (const AddedToken* token = added_.ById(id)) return token->content;
  const std::string* text = model_->tokens().Text(id);
  return text == nullptr ? "" : *text;
}

std::optional<uint32_t> PipelineTokenizer::TokenId(std::string_view piece) const {
  if (const auto id = added_.Find(piece)) return id;
  return model_->tokens().Find(piece);
}

// One call of EncodeText.
class PipelineTokenizer::Run {
 public:
  Run(const PipelineTokenizer& tokenizer, const EncodeRequest& request)
      : tokenizer_(tokenizer),
        request_(request),
        // Where control tokens must be told apart in normalized text, its origin counts.
        align_(request.with_offsets || tokenizer.always_align_ ||
               (!request.plain.empty() && tokenizer.added_.has_normalized())) {}

  absl::StatusOr<EncodedText> Encode() {
    AddSpecial(tokenizer_.post_processor_.before, 0);
    out_.ids.reserve(request_.text.size() / 4 + 16);
    const TextView whole{request_.text};
    RETURN_IF_ERROR(tokenizer_.added_.Split(
        whole, false, request_.plain,
        [&](const TextView& piece, std::optional<uint32_t> token) -> absl::Status {
          return token ? AddToken(piece, *token) : Normalize(piece);
        }));
    AddSpecial(tokenizer_.post_processor_.after, request_.text.size());
    return std::move(out_);
  }

 private:
  void AddSpecial(const std::vector<uint32_t>& ids, size_t at) {
    if (!request_.add_special_tokens) return;
    out_.ids.insert(out_.ids.end(), ids.begin(), ids.end());
    if (request_.with_offsets) out_.ranges.insert(out_.ranges.end(), ids.size(), {at, at});
  }

  absl::Status AddToken(const TextView& piece, uint32_t token) {
    out_.ids.push_back(token);
    if (request_.with_offsets) {
      const Alignment origin = piece.Origin(0, piece.text.size());
      out_.ranges.push_back({origin.begin, origin.end});
    }
    return absl::OkStatus();
  }

  absl::Status Normalize(const TextView& piece) {
    AlignedText normal;
    bool changed = false;
    if (tokenizer_.normalizer_ != nullptr) {
      ASSIGN_OR_RETURN(changed, tokenizer_.normalizer_->Apply(piece, align_, &normal));
    }
    return tokenizer_.added_.Split(
        changed ? normal.View() : piece, true, request_.plain,
        [&](const TextView& part, std::optional<uint32_t> token) -> absl::Status {
          return token ? AddToken(part, *token) : Words(part);
        });
  }

  absl::Status Words(const TextView& text) {
    const auto word = [&](const TextView& view) { return Word(view); };
    if (tokenizer_.splitter_ == nullptr) return Word(text);
    return tokenizer_.splitter_->Split(text, align_, word);
  }

  absl::Status Word(const TextView& word) {
    const size_t size = word.text.size();
    for (size_t done = 0; done < size;) {
      tokens_.clear();
      ASSIGN_OR_RETURN(const size_t length,
                       tokenizer_.model_->Tokenize(word.text.substr(done), &tokens_));
      for (const WordToken& token : tokens_) out_.ids.push_back(token.id);
      if (request_.with_offsets) AddRanges(word, done);
      done += length;
    }
    return absl::OkStatus();
  }

  // Of tokens_, which begin `offset` bytes into the word.
  void AddRanges(const TextView& word, size_t offset) {
    const size_t size = word.text.size();
    for (const WordToken& token : tokens_) {
      const Alignment origin =
          word.Origin(std::min(offset + token.begin, size), std::min(offset + token.end, size));
      out_.ranges.push_back({origin.begin, origin.end});
    }
  }

  const PipelineTokenizer& tokenizer_;
  const EncodeRequest& request_;
  bool align_;
  EncodedText out_;
  std::vector<WordToken> tokens_;
};

absl::StatusOr<Tokenizer::EncodedText> PipelineTokenizer::EncodeText(
    const EncodeRequest& request) const {
  return Run(*this, request).Encode();
}

}  // namespace tessera::server
