#include "server/text/normalizer.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/text/byte_level.h"
#include "server/text/json_fields.h"
#include "server/text/precompiled_charsmap.h"
#include "server/text/unicode.h"
#include "server/text/unicode_forms.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

class Form : public Normalizer {
 public:
  explicit Form(UnicodeForm form) : form_(form) {}
  absl::StatusOr<bool> Apply(const TextView& in, bool keep, AlignedText* out) const override {
    return ApplyForm(form_, in, keep, out);
  }

 private:
  UnicodeForm form_;
};

// Builds the text character by character: Map is called with (character, &builder), and calls one
// of the builder's functions for it.
template <typename Map>
class PerChar : public Normalizer {
 public:
  explicit PerChar(Map map) : map_(std::move(map)) {}
  absl::StatusOr<bool> Apply(const TextView& in, bool keep, AlignedText* out) const override {
    TextBuilder builder(in, keep, out);
    for (size_t pos = 0; pos < in.text.size();) {
      const size_t begin = pos;
      const char32_t c = NextChar(in.text, &pos);
      map_(c, pos - begin, &builder);
    }
    return true;
  }

 private:
  Map map_;
};
template <typename Map>
std::unique_ptr<Normalizer> MakePerChar(Map map) {
  return std::make_unique<PerChar<Map>>(std::move(map));
}

class Chain : public Normalizer {
 public:
  explicit Chain(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  absl::StatusOr<bool> Apply(const TextView& in, bool keep, AlignedText* out) const override {
    bool changed = false;
    AlignedText next;
    for (const auto& part : parts_) {
      ASSIGN_OR_RETURN(const bool step, part->Apply(changed ? out->View() : in, keep, &next));
      if (step) std::swap(*out, next);
      changed |= step;
    }
    return changed;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

class Replace : public Normalizer {
 public:
  Replace(TextPattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  absl::StatusOr<bool> Apply(const TextView& in, bool keep, AlignedText* out) const override {
    std::optional<TextBuilder> builder;
    RETURN_IF_ERROR(pattern_.FindAll(in.text, [&](size_t begin, size_t end) {
      if (!builder) builder.emplace(in, keep, out);
      builder->Keep(begin - builder->position());
      builder->Remove(end - begin);
      if (keep) {
        builder->Insert(content_);
      } else {
        out->text.append(content_);
      }
    }));
    if (builder) builder->Keep(in.text.size() - builder->position());
    return builder.has_value();
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  absl::StatusOr<bool> Apply(const TextView& in, bool keep, AlignedText* out) const override {
    if (in.text.empty() || prefix_.empty()) return false;
    PrependTo(in, prefix_, keep, out);
    return true;
  }

 private:
  std::string prefix_;
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  absl::StatusOr<bool> Apply(const TextView& in, bool keep, AlignedText* out) const override {
    size_t begin = 0;
    size_t end = in.text.size();
    while (left_ && begin < end) {
      size_t next = begin;
      if (!IsSpace(NextChar(in.text, &next))) break;
      begin = next;
    }
    while (right_ && end > begin) {
      const size_t previous = PreviousChar(in.text, end);
      size_t at = previous;
      if (!IsSpace(NextChar(in.text, &at))) break;
      end = previous;
    }
    if (begin == 0 && end == in.text.size()) return false;
    TextBuilder builder(in, keep, out);
    builder.Remove(begin);
    builder.Keep(end - begin);
    return true;
  }

 private:
  bool left_, right_;
};

class Precompiled : public Normalizer {
 public:
  explicit Precompiled(PrecompiledCharsmap map) : map_(std::move(map)) {}
  absl::StatusOr<bool> Apply(const TextView& in, bool keep, AlignedText* out) const override {
    TextBuilder builder(in, keep, out);
    for (size_t pos = 0; pos < in.text.size();) {
      const size_t end = GraphemeEnd(in.text, pos);
      const std::string_view grapheme = in.text.substr(pos, end - pos);
      // Longer clusters are looked up character by character only, as the original does.
      if (grapheme.size() >= 6 || !Put(grapheme, &builder)) {
        for (size_t at = 0; at < grapheme.size();) {
          const size_t begin = at;
          NextChar(grapheme, &at);
          if (!Put(grapheme.substr(begin, at - begin), &builder)) builder.Keep(at - begin);
        }
      }
      pos = end;
    }
    return true;
  }

 private:
  bool Put(std::string_view part, TextBuilder* builder) const {
    const std::optional<std::string_view> replacement = map_.Transform(part);
    if (!replacement) return false;
    const size_t end = builder->position() + part.size();
    for (size_t pos = 0; pos < replacement->size();) {
      const char32_t c = NextChar(*replacement, &pos);
      builder->position() < end ? builder->Replace(c) : builder->Insert(c);
    }
    builder->Remove(end - builder->position());
    return true;
  }
  PrecompiledCharsmap map_;
};

std::unique_ptr<Normalizer> MakeFilter(CategorySet removed) {
  return MakePerChar([removed](char32_t c, size_t bytes, TextBuilder* builder) {
    In(removed, c) ? builder->Remove(bytes) : builder->Keep(bytes);
  });
}

std::unique_ptr<Normalizer> MakeLowercase() {
  return MakePerChar([](char32_t c, size_t, TextBuilder* builder) {
    const std::u32string lower = LowerCase(c);
    builder->Replace(lower[0]);
    for (size_t i = 1; i < lower.size(); ++i) builder->Insert(lower[i]);
  });
}

// The rules of SentencePiece's nmt_nfkc that are not NFKC.
std::unique_ptr<Normalizer> MakeNmt() {
  return MakePerChar([](char32_t c, size_t bytes, TextBuilder* builder) {
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F) {
      builder->Remove(bytes);
    } else if (c == '\t' || c == '\n' || c == 0xC || c == '\r' || c == 0x1680 ||
               (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
               c == 0xFEFF || c == 0xFFFD) {
      builder->Replace(' ');
    } else {
      builder->Keep(bytes);
    }
  });
}

// BERT's removal of control characters, with all white space as ' '. Unassigned ones stay.
std::unique_ptr<Normalizer> MakeCleanText() {
  return MakePerChar([](char32_t c, size_t bytes, TextBuilder* builder) {
    if (c == '\t' || c == '\n' || c == '\r') {
      builder->Replace(' ');
    } else if (c == 0 || c == 0xFFFD || In(kOthers & ~Bit(Category::kCn), c)) {
      builder->Remove(bytes);
    } else if (IsSpace(c)) {
      builder->Replace(' ');
    } else {
      builder->Keep(bytes);
    }
  });
}

absl::StatusOr<std::unique_ptr<Normalizer>> MakeBert(const nlohmann::json& spec) {
  std::vector<std::unique_ptr<Normalizer>> parts;
  ASSIGN_OR_RETURN(const bool clean, BoolField(spec, "clean_text", true));
  ASSIGN_OR_RETURN(const bool ideographs, BoolField(spec, "handle_chinese_chars", true));
  ASSIGN_OR_RETURN(const bool lowercase, BoolField(spec, "lowercase", true));
  ASSIGN_OR_RETURN(const bool strip, BoolField(spec, "strip_accents", lowercase));
  if (clean) parts.push_back(MakeCleanText());
  if (ideographs) {
    parts.push_back(MakePerChar([](char32_t c, size_t bytes, TextBuilder* builder) {
      const bool ideograph = IsBertIdeograph(c);
      if (ideograph) builder->Insert(' ');
      builder->Keep(bytes);
      if (ideograph) builder->Insert(' ');
    }));
  }
  if (strip) {
    parts.push_back(std::make_unique<Form>(UnicodeForm::kNfd));
    parts.push_back(MakeFilter(Bit(Category::kMn)));
  }
  if (lowercase) parts.push_back(MakeLowercase());
  return std::make_unique<Chain>(std::move(parts));
}

absl::StatusOr<std::unique_ptr<Normalizer>> Make(const nlohmann::json& spec, int depth);

absl::StatusOr<std::unique_ptr<Normalizer>> MakeChain(const nlohmann::json& spec, int depth) {
  if (depth >= kMaxComponentDepth) {
    return absl::InvalidArgumentError("tokenizer.json: normalizers are nested too deeply");
  }
  ASSIGN_OR_RETURN(const nlohmann::json* list, ArrayField(spec, "normalizers"));
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (const nlohmann::json& part : *list) {
    ASSIGN_OR_RETURN(auto made, Make(part, depth + 1));
    parts.push_back(std::move(made));
  }
  return std::make_unique<Chain>(std::move(parts));
}

absl::StatusOr<std::unique_ptr<Normalizer>> MakePrecompiled(const nlohmann::json& spec) {
  ASSIGN_OR_RETURN(const std::string base64, StringField(spec, "precompiled_charsmap"));
  std::string blob;
  if (!absl::Base64Unescape(base64, &blob)) {
    return absl::InvalidArgumentError("tokenizer.json: precompiled_charsmap is not base64");
  }
  ASSIGN_OR_RETURN(PrecompiledCharsmap map, PrecompiledCharsmap::Parse(blob));
  return std::make_unique<Precompiled>(std::move(map));
}

absl::StatusOr<std::unique_ptr<Normalizer>> Make(const nlohmann::json& spec, int depth) {
  ASSIGN_OR_RETURN(const std::string type, TypeOf(spec, "normalizer"));
  if (type == "Sequence") return MakeChain(spec, depth);
  if (type == "NFC") return std::make_unique<Form>(UnicodeForm::kNfc);
  if (type == "NFD") return std::make_unique<Form>(UnicodeForm::kNfd);
  if (type == "NFKC") return std::make_unique<Form>(UnicodeForm::kNfkc);
  if (type == "NFKD") return std::make_unique<Form>(UnicodeForm::kNfkd);
  if (type == "BertNormalizer") return MakeBert(spec);
  if (type == "Lowercase") return MakeLowercase();
  if (type == "Nmt") return MakeNmt();
  if (type == "StripAccents") return MakeFilter(kMarks);
  if (type == "Precompiled") return MakePrecompiled(spec);
  if (type == "Strip") {
    ASSIGN_OR_RETURN(const bool left, BoolField(spec, "strip_left", true));
    ASSIGN_OR_RETURN(const bool right, BoolField(spec, "strip_right", true));
    return std::make_unique<Strip>(left, right);
  }
  if (type == "Prepend") {
    ASSIGN_OR_RETURN(std::string prefix, StringField(spec, "prepend"));
    return std::make_unique<Prepend>(std::move(prefix));
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(TextPattern pattern, PatternField(spec));
    ASSIGN_OR_RETURN(std::string content, StringField(spec, "content"));
    return std::make_unique<Replace>(std::move(pattern), std::move(content));
  }
  if (type == "ByteLevel") {
    return MakePerChar(
        [](char32_t, size_t bytes, TextBuilder* builder) { builder->ReplaceByBytes(bytes); });
  }
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: the normalizer '", type, "' is not known"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Normalizer>> MakeNormalizer(const nlohmann::json& spec) {
  if (spec.is_null()) return std::unique_ptr<Normalizer>();
  return Make(spec, 0);
}

}  // namespace tessera::server
