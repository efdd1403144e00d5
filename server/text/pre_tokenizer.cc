#include "server/text/pre_tokenizer.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/byte_level.h"
#include "server/text/json_fields.h"
#include "server/text/split.h"
#include "server/text/unicode.h"
#include "server/text/unicode_scripts.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

using Steps = std::vector<std::unique_ptr<PreTokenizer>>;

class PatternSplit : public PreTokenizer {
 public:
  PatternSplit(TextPattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  absl::Status Split(const TextView& in, bool, WordSink sink) const override {
    Splitter splitter(in, behavior_, invert_, sink);
    RETURN_IF_ERROR(
        pattern_.FindAll(in.text, [&](size_t begin, size_t end) { splitter.Match(begin, end); }));
    return splitter.Finish();
  }

 private:
  TextPattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Cuts at the single characters for which Test is true.
template <typename Test>
class CharSplit : public PreTokenizer {
 public:
  CharSplit(Test test, SplitBehavior behavior) : test_(test), behavior_(behavior) {}
  absl::Status Split(const TextView& in, bool, WordSink sink) const override {
    Splitter splitter(in, behavior_, false, sink);
    for (size_t pos = 0; pos < in.text.size();) {
      const size_t begin = pos;
      if (test_(NextChar(in.text, &pos))) splitter.Match(begin, pos);
    }
    return splitter.Finish();
  }

 private:
  Test test_;
  SplitBehavior behavior_;
};
template <typename Test>
std::unique_ptr<PreTokenizer> MakeCharSplit(Test test, SplitBehavior behavior) {
  return std::make_unique<CharSplit<Test>>(test, behavior);
}

class Chain : public PreTokenizer {
 public:
  explicit Chain(Steps steps) : steps_(std::move(steps)) {}
  absl::Status Split(const TextView& in, bool keep, WordSink sink) const override {
    return Run(0, in, keep, sink);
  }

 private:
  absl::Status Run(size_t step, const TextView& in, bool keep, WordSink sink) const {
    if (step == steps_.size()) return sink(in);
    return steps_[step]->Split(
        in, keep, [&](const TextView& word) { return Run(step + 1, word, keep, sink); });
  }
  Steps steps_;
};

class PrefixSpace : public PreTokenizer {
 public:
  absl::Status Split(const TextView& in, bool keep, WordSink sink) const override {
    if (in.text.empty() || in.text[0] == ' ') return sink(in);
    AlignedText prefixed;
    PrependTo(in, " ", keep, &prefixed);
    return sink(prefixed.View());
  }
};

class ByteLevelStep : public PreTokenizer {
 public:
  absl::Status Split(const TextView& in, bool keep, WordSink sink) const override {
    AlignedText printable;
    TextBuilder builder(in, keep, &printable);
    for (size_t pos = 0; pos < in.text.size();) {
      const size_t length = Utf8Length(static_cast<unsigned char>(in.text[pos]));
      builder.ReplaceByBytes(length);
      pos += length;
    }
    return sink(printable.View());
  }
};

class Metaspace : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(char32_t replacement, Prepend prepend, bool split)
      : marker_(ToUtf8(replacement)), prepend_(prepend), split_(split) {}

  absl::Status Split(const TextView& in, bool keep, WordSink sink) const override {
    if (in.text.empty()) return absl::OkStatus();
    const bool first = in.OriginBegin() == 0;
    const bool marked = in.text[0] == ' ' || in.text.substr(0, marker_.size()) == marker_;
    const bool prefix =
        !marked && (prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && first));
    AlignedText out;
    TextBuilder builder(in, keep, &out);
    if (prefix) {
      out.text = marker_;
      if (keep) out.alignment.assign(marker_.size(), in.Origin(0, 1));
    }
    size_t at = 0;
    const char32_t replacement = NextChar(marker_, &at);
    for (size_t space = in.text.find(' '); space != std::string_view::npos;
         space = in.text.find(' ', space + 1)) {
      builder.Keep(space - builder.position());
      builder.Replace(replacement);
    }
    builder.Keep(in.text.size() - builder.position());
    const TextView marked_text = out.View();
    if (!split_) return sink(marked_text);
    Splitter splitter(marked_text, SplitBehavior::kMergedWithNext, false, sink);
    for (size_t pos = out.text.find(marker_); pos != std::string::npos;
         pos = out.text.find(marker_, pos + marker_.size())) {
      splitter.Match(pos, pos + marker_.size());
    }
    return splitter.Finish();
  }

 private:
  std::string marker_;
  Prepend prepend_;
  bool split_;
};

class FixedLength : public PreTokenizer {
 public:
  explicit FixedLength(uint64_t length) : length_(length) {}
  absl::Status Split(const TextView& in, bool, WordSink sink) const override {
    size_t begin = 0;
    uint64_t count = 0;
    for (size_t pos = 0; pos < in.text.size();) {
      NextChar(in.text, &pos);
      if (++count < length_ && pos < in.text.size()) continue;
      RETURN_IF_ERROR(sink(in.Slice(begin, pos)));
      begin = pos;
      count = 0;
    }
    return absl::OkStatus();
  }

 private:
  uint64_t length_;
};

// Runs of word characters, and runs of what is neither that nor white space.
class WordRuns : public PreTokenizer {
 public:
  absl::Status Split(const TextView& in, bool, WordSink sink) const override {
    enum class Class { kSpace, kWord, kOther };
    size_t begin = 0;
    Class run = Class::kSpace;
    for (size_t pos = 0; pos < in.text.size();) {
      const size_t at = pos;
      const char32_t c = NextChar(in.text, &pos);
      const Class here = IsWord(c) ? Class::kWord : IsSpace(c) ? Class::kSpace : Class::kOther;
      if (here == run) continue;
      if (run != Class::kSpace) RETURN_IF_ERROR(sink(in.Slice(begin, at)));
      begin = at;
      run = here;
    }
    return run == Class::kSpace ? absl::OkStatus() : sink(in.Slice(begin, in.text.size()));
  }
};

class UnicodeScripts : public PreTokenizer {
 public:
  absl::Status Split(const TextView& in, bool, WordSink sink) const override {
    // Spaces belong to the word before them; those before the first word are lost, as in the
    // original.
    constexpr size_t kNoWord = std::string_view::npos;
    size_t begin = kNoWord;
    ScriptId last = kAnyScript;
    for (size_t pos = 0; pos < in.text.size();) {
      const size_t at = pos;
      const ScriptId script = PreTokenizerScript(NextChar(in.text, &pos));
      if (script == kAnyScript) continue;
      if (script != last) {
        if (begin != kNoWord) RETURN_IF_ERROR(sink(in.Slice(begin, at)));
        begin = at;
      }
      last = script;
    }
    if (begin != kNoWord) RETURN_IF_ERROR(sink(in.Slice(begin, in.text.size())));
    return absl::OkStatus();
  }
};

absl::StatusOr<Metaspace::Prepend> PrependScheme(const nlohmann::json& spec) {
  ASSIGN_OR_RETURN(const std::string scheme, StringField(spec, "prepend_scheme", "always"));
  // The older field: false means "never".
  ASSIGN_OR_RETURN(const bool prefix, BoolField(spec, "add_prefix_space", true));
  if (!prefix && spec.contains("prepend_scheme") && scheme != "never") {
    return absl::InvalidArgumentError(
        "tokenizer.json: Metaspace: add_prefix_space does not agree with prepend_scheme");
  }
  if (!prefix || scheme == "never") return Metaspace::Prepend::kNever;
  if (scheme == "always") return Metaspace::Prepend::kAlways;
  if (scheme == "first") return Metaspace::Prepend::kFirst;
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.json: Metaspace: the prepend_scheme '", scheme, "' is not known"));
}

// Reads specifications into a flat list of steps.
class Reader {
 public:
  absl::Status Read(const nlohmann::json& spec, int depth) {
    ASSIGN_OR_RETURN(const std::string type, TypeOf(spec, "pre-tokenizer"));
    ends_in_byte_level_ = false;
    if (type == "Sequence") return ReadChain(spec, depth);
    if (type == "ByteLevel") return ReadByteLevel(spec);
    if (type == "Metaspace") return ReadMetaspace(spec);
    if (type == "Split") return ReadSplit(spec);
    if (type == "Digits") return ReadDigits(spec);
    if (type == "Punctuation") return ReadPunctuation(spec);
    if (type == "FixedLength") return ReadFixedLength(spec);
    if (type == "CharDelimiterSplit") return ReadDelimiter(spec);
    if (type == "UnicodeScripts") return Add(std::make_unique<UnicodeScripts>());
    if (type == "Whitespace") return Add(std::make_unique<WordRuns>());
    if (type == "WhitespaceSplit") return Add(MakeCharSplit(IsSpace, SplitBehavior::kRemoved));
    if (type == "BertPreTokenizer") {
      RETURN_IF_ERROR(Add(MakeCharSplit(IsSpace, SplitBehavior::kRemoved)));
      return Add(MakeCharSplit(IsBertPunctuation, SplitBehavior::kIsolated));
    }
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.json: the pre-tokenizer '", type, "' is not known"));
  }

  PreTokenizerPlan Finish() {
    PreTokenizerPlan plan;
    plan.ends_in_byte_level = ends_in_byte_level_;
    plan.asks_origin = asks_origin_;
    plan.needs_alignment = needs_alignment_;
    if (ends_in_byte_level_) steps_.pop_back();
    if (steps_.size() == 1) plan.splitter = std::move(steps_[0]);
    if (steps_.size() > 1) plan.splitter = std::make_unique<Chain>(std::move(steps_));
    return plan;
  }

 private:
  absl::Status Add(std::unique_ptr<PreTokenizer> step) {
    steps_.push_back(std::move(step));
    return absl::OkStatus();
  }
  absl::Status AddExpression(std::string_view expression, SplitBehavior behavior, bool invert) {
    ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::Expression(expression));
    return Add(std::make_unique<PatternSplit>(std::move(pattern), behavior, invert));
  }

  absl::Status ReadChain(const nlohmann::json& spec, int depth) {
    if (depth >= kMaxComponentDepth) {
      return absl::InvalidArgumentError("tokenizer.json: pre-tokenizers are nested too deeply");
    }
    ASSIGN_OR_RETURN(const nlohmann::json* list, ArrayField(spec, "pretokenizers"));
    for (const nlohmann::json& part : *list) RETURN_IF_ERROR(Read(part, depth + 1));
    if (steps_.size() > 256) {
      return absl::InvalidArgumentError("tokenizer.json: more than 256 pre-tokenizers");
    }
    return absl::OkStatus();
  }

  absl::Status ReadByteLevel(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const bool prefix, BoolField(spec, "add_prefix_space", true));
    ASSIGN_OR_RETURN(const bool regex, BoolField(spec, "use_regex", true));
    if (prefix) RETURN_IF_ERROR(Add(std::make_unique<PrefixSpace>()));
    if (regex) RETURN_IF_ERROR(AddExpression(kGpt2Pattern, SplitBehavior::kIsolated, false));
    ends_in_byte_level_ = true;
    return Add(MakeByteLevelStep());
  }

  absl::Status ReadMetaspace(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const char32_t replacement, CharField(spec, "replacement", 0x2581));
    ASSIGN_OR_RETURN(const Metaspace::Prepend prepend, PrependScheme(spec));
    ASSIGN_OR_RETURN(const bool split, BoolField(spec, "split", true));
    asks_origin_ |= prepend == Metaspace::Prepend::kFirst;
    needs_alignment_ |= prepend == Metaspace::Prepend::kFirst && !steps_.empty();
    return Add(std::make_unique<Metaspace>(replacement, prepend, split));
  }

  absl::Status ReadSplit(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(TextPattern pattern, PatternField(spec));
    ASSIGN_OR_RETURN(const std::string name, StringField(spec, "behavior"));
    ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseSplitBehavior(name));
    ASSIGN_OR_RETURN(const bool invert, BoolField(spec, "invert", false));
    return Add(std::make_unique<PatternSplit>(std::move(pattern), behavior, invert));
  }

  absl::Status ReadDigits(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const bool single, BoolField(spec, "individual_digits", false));
    return Add(MakeCharSplit([](char32_t c) { return In(kNumbers, c); },
                             single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous));
  }

  absl::Status ReadPunctuation(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const std::string name, StringField(spec, "behavior", "Isolated"));
    ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseSplitBehavior(name));
    return Add(MakeCharSplit(IsBertPunctuation, behavior));
  }

  absl::Status ReadFixedLength(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const uint64_t length, NumberField(spec, "length", 5));
    if (length == 0) {
      return absl::InvalidArgumentError("tokenizer.json: FixedLength: length must not be 0");
    }
    return Add(std::make_unique<FixedLength>(length));
  }

  absl::Status ReadDelimiter(const nlohmann::json& spec) {
    ASSIGN_OR_RETURN(const char32_t delimiter, CharField(spec, "delimiter"));
    return Add(
        MakeCharSplit([delimiter](char32_t c) { return c == delimiter; }, SplitBehavior::kRemoved));
  }

  Steps steps_;
  bool ends_in_byte_level_ = false;
  bool asks_origin_ = false;
  bool needs_alignment_ = false;
};

}  // namespace

std::unique_ptr<PreTokenizer> MakeByteLevelStep() { return std::make_unique<ByteLevelStep>(); }

absl::StatusOr<PreTokenizerPlan> MakePreTokenizer(const nlohmann::json& spec) {
  if (spec.is_null()) return PreTokenizerPlan();
  Reader reader;
  RETURN_IF_ERROR(reader.Read(spec, 0));
  return reader.Finish();
}

}  // namespace tessera::server
