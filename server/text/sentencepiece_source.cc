// SentencePiece models, run by the SentencePiece library itself.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/added_tokens.h"
#include "server/text/byte_level.h"
#include "server/text/other_sources.h"
#include "server/text/sentencepiece_library.h"
#include "server/text/token_decoder.h"
#include "server/text/token_table.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

constexpr std::string_view kMarker = "\xE2\x96\x81";  // U+2581, SentencePiece's space
constexpr char kUnknownSurface[] = " \xE2\x81\x87 ";  // what it writes for unknown tokens

// The library's decoder as a stage. Tokens come with a letter before them that says what they are:
// n(ormal), u(nknown), b(yte), c(ontrol, written out).
class SentencePieceStage : public DecodeStage {
 public:
  SentencePieceStage(bool strips_one, bool strips_all)
      : strips_one_(strips_one), strips_all_(strips_all) {}

  void Push(const Fragment& in, FragmentSink out) override {
    const char kind = in.text[0];
    const std::string_view token = in.text.substr(1);
    std::string text;
    if (kind == 'b') {
      bytes_.push_back(static_cast<char>(ByteFallbackValue(token)));
      TakeBytes(false, &text);
    } else {
      TakeBytes(true, &text);
      if (kind == 'n') {
        Normal(token, &text);
      } else {
        text += kind == 'u' ? std::string_view(kUnknownSurface) : token;
      }
    }
    if (text.empty()) return;
    at_start_ = false;
    out({text, true, true});
  }
  void Finish(FragmentSink out) override {
    std::string text;
    TakeBytes(true, &text);
    out({text, true, true});
  }

 private:
  void Normal(std::string_view token, std::string* text) {
    if (at_start_ && (strips_one_ || strips_all_)) {
      const bool marked = token.substr(0, kMarker.size()) == kMarker;
      if (marked) token.remove_prefix(kMarker.size());
      if (marked && !strips_all_) at_start_ = false;
    }
    for (size_t pos = 0; pos < token.size();) {
      if (token.substr(pos, kMarker.size()) == kMarker) {
        *text += ' ';
        pos += kMarker.size();
      } else {
        *text += token[pos++];
      }
    }
  }
  // Whole characters; a byte that begins none is a U+FFFD of its own.
  void TakeBytes(bool all, std::string* text) {
    size_t pos = 0;
    while (pos < bytes_.size()) {
      const Utf8Prefix prefix = ReadUtf8(std::string_view(bytes_).substr(pos));
      if (prefix.kind == Utf8Prefix::Kind::kCharacter) {
        text->append(bytes_, pos, prefix.length);
        pos += prefix.length;
      } else if (prefix.kind == Utf8Prefix::Kind::kIncomplete && !all) {
        break;
      } else {
        *text += kReplacementCharacter;
        ++pos;
      }
    }
    bytes_.erase(0, pos);
  }

  bool strips_one_, strips_all_;
  bool at_start_ = true;
  std::string bytes_;
};

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceLibrary> processor, DecodePlan plan)
      : processor_(std::move(processor)), decoder_(std::move(plan)) {}

  absl::Status Fill(const SourceContext& context) {
    for (int i = 0; i < processor_->size(); ++i) {
      const auto id = static_cast<uint32_t>(i);
      const std::string& piece = processor_->Text(i);
      RETURN_IF_ERROR(tokens_.Add(piece, id));
      const bool control = processor_->IsControl(i);
      const char kind = control                    ? 'c'
                        : processor_->IsUnknown(i) ? 'u'
                        : processor_->IsByte(i)    ? 'b'
                                                   : 'n';
      decoder_.Add(id, kind + piece, control);
      if (!control) continue;
      AddedToken token;
      token.content = piece;
      token.id = id;
      token.normalized = false;
      token.special = true;
      control_.Add(std::move(token));
    }
    control_.Build(std::vector<std::string>(control_.tokens().size()));
    SpecialTokens names = context.names;
    const auto name = [&](int id, std::string* token) {
      if (token->empty() && id >= 0) *token = processor_->Text(id);
    };
    name(processor_->bos_id(), &names.bos_token);
    name(processor_->eos_id(), &names.eos_token);
    name(processor_->unk_id(), &names.unk_token);
    name(processor_->pad_id(), &names.pad_token);
    set_special_tokens(std::move(names));
    const auto flag = [&](const char* field, bool fallback) {
      const auto it = context.config.find(field);
      return it == context.config.end() || !it->is_boolean() ? fallback : it->get<bool>();
    };
    // Models with a bos put it before every text; T5's, which have none, end in eos.
    const bool has_bos = processor_->bos_id() >= 0;
    if (flag("add_bos_token", has_bos)) before_ = bos_id();
    if (flag("add_eos_token", !has_bos)) after_ = eos_id();
    return absl::OkStatus();
  }

  std::string TokenBytes(uint32_t id) const override {
    if (!decoder_.Has(id)) return "";
    const std::string_view piece = decoder_.Piece(id);
    if (piece[0] == 'b')
      return std::string(1, static_cast<char>(ByteFallbackValue(piece.substr(1))));
    return decoder_.Bytes(id).substr(1);
  }
  std::string TokenText(uint32_t id) const override {
    const std::string* text = tokens_.Text(id);
    return text == nullptr ? "" : *text;
  }
  std::optional<uint32_t> TokenId(std::string_view piece) const override {
    return tokens_.Find(piece);
  }
  bool IsSpecial(uint32_t id) const override { return decoder_.IsSpecial(id); }
  uint32_t size() const override { return decoder_.size(); }
  const TokenDecoder& decoder() const override { return decoder_; }

 protected:
  absl::StatusOr<EncodedText> EncodeText(const EncodeRequest& request) const override {
    EncodedText out;
    const auto add = [&](uint32_t id, size_t begin, size_t end) {
      out.ids.push_back(id);
      if (request.with_offsets) out.ranges.push_back({begin, end});
    };
    if (request.add_special_tokens && before_) add(*before_, 0, 0);
    const TextView whole{request.text};
    RETURN_IF_ERROR(
        control_.Split(whole, false, request.plain,
                       [&](const TextView& piece, std::optional<uint32_t> token) -> absl::Status {
                         if (token) {
                           add(*token, piece.origin, piece.origin + piece.text.size());
                           return absl::OkStatus();
                         }
                         for (const auto& part : processor_->Encode(piece.text)) {
                           add(part.id, piece.origin + part.begin, piece.origin + part.end);
                         }
                         return absl::OkStatus();
                       }));
    if (request.add_special_tokens && after_)
      add(*after_, request.text.size(), request.text.size());
    return out;
  }

 private:
  std::unique_ptr<SentencePieceLibrary> processor_;
  TokenTable tokens_;
  AddedTokens control_;
  TokenDecoder decoder_;
  std::optional<uint32_t> before_, after_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> FromSentencePiece(std::string_view model,
                                                                   const SourceContext& context) {
  auto processor = std::make_unique<SentencePieceLibrary>();
  if (const std::string wrong = processor->Load(model); !wrong.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("not a SentencePiece model: ", wrong));
  }
  // The library shows its normalizer's settings by what it does only.
  const auto ids = [&](std::string_view text) {
    std::vector<uint32_t> found;
    for (const auto& piece : processor->Encode(text)) found.push_back(piece.id);
    return found;
  };
  const std::vector<uint32_t> single = ids("a");
  const bool prefix =
      !single.empty() &&
      processor->Text(static_cast<int>(single[0])).compare(0, kMarker.size(), kMarker) == 0;
  const bool collapses = ids("a b") == ids(" a  b ");
  DecodePlan plan;
  plan.stages.push_back(
      [prefix, collapses] { return std::make_unique<SentencePieceStage>(prefix, collapses); });
  auto tokenizer = std::make_unique<SentencePieceTokenizer>(std::move(processor), std::move(plan));
  RETURN_IF_ERROR(tokenizer->Fill(context));
  return tokenizer;
}

}  // namespace tessera::server
