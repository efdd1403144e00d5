// Reads decoder specifications, and the stages that only few tokenizers use.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/text/byte_level.h"
#include "server/text/decode_stage.h"
#include "server/text/json_fields.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

// A stage that needs whole tokens: Token is called for each.
class WholeTokenStage : public DecodeStage {
 public:
  void Push(const Fragment& in, FragmentSink out) final {
    if (in.first && in.last) return Token(in.text, out);
    token_ += in.text;
    if (in.last) Token(std::exchange(token_, ""), out);
  }

 protected:
  virtual void Token(std::string_view token, FragmentSink out) = 0;

 private:
  std::string token_;
};

class RewriteStage : public WholeTokenStage {
 public:
  explicit RewriteStage(TokenRewrite rewrite) : rewrite_(std::move(rewrite)) {}

 private:
  void Token(std::string_view token, FragmentSink out) override {
    out({rewrite_(token), true, true});
  }
  TokenRewrite rewrite_;
};

// Without a decoder, tokens have spaces between them.
class JoinStage : public WholeTokenStage {
  void Token(std::string_view token, FragmentSink out) override {
    if (std::exchange(any_, true)) out({" ", true, true});
    out({token, true, true});
  }
  bool any_ = false;
};

class MetaspaceStage : public WholeTokenStage {
 public:
  MetaspaceStage(char32_t marker, bool prefix) : marker_(ToUtf8(marker)), prefix_(prefix) {}

 private:
  void Token(std::string_view token, FragmentSink out) override {
    const char* space = std::exchange(any_, true) || !prefix_ ? " " : "";
    out({absl::StrReplaceAll(absl::string_view(token.data(), token.size()), {{marker_, space}}),
         true, true});
  }
  std::string marker_;
  bool prefix_;
  bool any_ = false;
};

// BERT's way to put spaces back where they belong.
std::string CleanUp(std::string text) {
  static constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) text = absl::StrReplaceAll(text, {{from, to}});
  return text;
}

class WordPieceStage : public WholeTokenStage {
 public:
  WordPieceStage(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}

 private:
  void Token(std::string_view token, FragmentSink out) override {
    std::string text(token);
    if (std::exchange(any_, true)) {
      if (text.compare(0, prefix_.size(), prefix_) == 0) {
        text.erase(0, prefix_.size());
      } else {
        text.insert(0, 1, ' ');
      }
    }
    out({cleanup_ ? CleanUp(std::move(text)) : text, true, true});
  }
  std::string prefix_;
  bool cleanup_;
  bool any_ = false;
};

// A word's last token carries the suffix; behind it stands a space, but at the very end.
class BpeSuffixStage : public WholeTokenStage {
 public:
  explicit BpeSuffixStage(std::string suffix) : suffix_(std::move(suffix)) {}
  void Finish(FragmentSink out) override { Release("", out); }

 private:
  void Token(std::string_view token, FragmentSink out) override {
    Release(" ", out);
    held_ = std::string(token);
    has_held_ = true;
  }
  void Release(const char* replacement, FragmentSink out) {
    if (!std::exchange(has_held_, false)) return;
    out({suffix_.empty() ? held_ : absl::StrReplaceAll(held_, {{suffix_, replacement}}), true,
         true});
  }
  std::string suffix_;
  std::string held_;
  bool has_held_ = false;
};

// Connectionist temporal classification: repeated tokens count once, padding is left out.
class CtcStage : public WholeTokenStage {
 public:
  CtcStage(std::string pad, std::string delimiter, bool cleanup)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}

 private:
  void Token(std::string_view token, FragmentSink out) override {
    if (std::exchange(any_, true) && token == previous_) return;
    previous_ = std::string(token);
    std::string text = Without(previous_, pad_, "");
    if (cleanup_) text = Without(CleanUp(std::move(text)), delimiter_, " ");
    if (!text.empty()) out({text, true, true});
  }
  static std::string Without(const std::string& text, const std::string& part, const char* with) {
    return part.empty() ? text : absl::StrReplaceAll(text, {{part, with}});
  }
  std::string pad_, delimiter_;
  bool cleanup_;
  std::string previous_;
  bool any_ = false;
};

class Reader {
 public:
  absl::Status Read(const nlohmann::json& spec, int depth) {
    ASSIGN_OR_RETURN(const std::string type, TypeOf(spec, "decoder"));
    if (type == "Sequence") return ReadChain(spec, depth);
    if (type == "ByteLevel") return AddByteLevel();
    if (type == "ByteFallback") return AddStage(MakeByteFallbackStage);
    if (type == "Fuse") return AddStage(MakeFuseStage);
    if (type == "Strip") return ReadStrip(spec);
    if (type == "Replace") return ReadReplace(spec);
    if (type == "Metaspace") return ReadMetaspace(spec);
    if (type == "WordPiece") return ReadWordPiece(spec);
    if (type == "CTC") return ReadCtc(spec);
    if (type == "BPEDecoder") {
      ASSIGN_OR_RETURN(const std::string suffix, StringField(spec, "suffix", "</w>"));
      return AddStage([suffix] { return std::make_unique<BpeSuffixStage>(suffix); });
    }
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.json: the decoder '", type, "' is not known"));
  }
  DecodePlan Finish() { return std::move(plan_); }

 private:
  absl::Status AddStage(DecodeStageFactory factory) {
    plan_.stages.push_back(std::move(factory));
    return absl::OkStatus();
  }
  absl::Status AddRewrite(TokenRewrite rewrite) {
    if (plan_.stages.empty()) {
      plan_.rewrites.push_back(std::move(rewrite));
      return absl::OkStatus();
    }
    return AddStage([rewrite] { return std::make_unique<RewriteStage>(rewrite); });
  }

  absl::Status ReadChain(const nlohmann::json& spec, int depth) {
    if (depth >= kMaxComponentDepth) {
      return absl::InvalidArgumentError("tokenizer.json: decoders are nested too deeply");
    }
    ASSIGN_OR_RETURN(const nlohmann::json* list, ArrayField(spec, "decoders"));
    for (const nlohmann::json& part : *list) RETURN_IF_ERROR(Read(part, depth + 1));
    if (plan_.stages.size() > 64) {
      return absl::InvalidArgumentError("tokenizer.json: more than 64 decoders");
    }
    return absl::OkStatus();
  }

  absl::Status AddByteLevel() {
    const TokenRewrite bytes = [](std::string_view token) {
      return BytesOfPrintable(token).value_or(std::string(token));
    };
    plan_.raw_bytes |= plan_.stages.empty();
    RETURN_IF_ERROR(AddRewrite(bytes));
    return AddStage(MakeRawBytesStage);
  }

  absl::Status ReadStrip(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const char32_t content, CharField(spec, "content", U' '));
    ASSIGN_OR_RETURN(const uint64_t start, NumberField(spec, "start", 0));
    ASSIGN_OR_RETURN(const uint64_t stop, NumberField(spec, "stop", 0));
    return AddStage([=] { return MakeStripStage(content, start, stop); });
  }

  absl::Status ReadReplace(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(TextPattern read, PatternField(spec));
    ASSIGN_OR_RETURN(const std::string content, StringField(spec, "content"));
    // Shared by the streams of this tokenizer.
    const auto pattern = std::make_shared<const TextPattern>(std::move(read));
    return AddRewrite([pattern, content](std::string_view token) {
      std::string out;
      size_t done = 0;
      const absl::Status searched = pattern->FindAll(token, [&](size_t begin, size_t end) {
        out += token.substr(done, begin - done);
        out += content;
        done = end;
      });
      if (!searched.ok()) return std::string(token);
      return out += token.substr(done);
    });
  }

  absl::Status ReadMetaspace(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const char32_t marker, CharField(spec, "replacement", 0x2581));
    ASSIGN_OR_RETURN(const std::string scheme, StringField(spec, "prepend_scheme", "always"));
    ASSIGN_OR_RETURN(const bool prefix, BoolField(spec, "add_prefix_space", true));
    const bool strips = prefix && scheme != "never";
    return AddStage([=] { return std::make_unique<MetaspaceStage>(marker, strips); });
  }

  absl::Status ReadWordPiece(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const std::string prefix, StringField(spec, "prefix", "##"));
    ASSIGN_OR_RETURN(const bool cleanup, BoolField(spec, "cleanup", true));
    return AddStage([=] { return std::make_unique<WordPieceStage>(prefix, cleanup); });
  }

  absl::Status ReadCtc(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const std::string pad, StringField(spec, "pad_token", "<pad>"));
    ASSIGN_OR_RETURN(const std::string delimiter, StringField(spec, "word_delimiter_token", "|"));
    ASSIGN_OR_RETURN(const bool cleanup, BoolField(spec, "cleanup", true));
    return AddStage([=] { return std::make_unique<CtcStage>(pad, delimiter, cleanup); });
  }

  DecodePlan plan_;
};

}  // namespace

absl::StatusOr<DecodePlan> MakeDecodePlan(const nlohmann::json& spec) {
  if (spec.is_null()) {
    DecodePlan plan;
    plan.stages.push_back([] { return std::make_unique<JoinStage>(); });
    return plan;
  }
  Reader reader;
  RETURN_IF_ERROR(reader.Read(spec, 0));
  return reader.Finish();
}

}  // namespace tessera::server
