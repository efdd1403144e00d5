// str(), repr() and json.dumps() of values.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/text/jinja_value.h"
#include "server/text/unicode.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Value::Kind;

constexpr CategorySet kUnprintable = kOthers | kSeparators;

// Python's repr of a string: in the quotes that it does not hold, with what does not print escaped.
Text QuoteString(const Text& text) {
  const std::string_view bytes = text.view();
  const bool double_quotes =
      bytes.find('\'') != std::string_view::npos && bytes.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  Text out;
  out.Append(std::string_view(&quote, 1));
  for (size_t pos = 0; pos < bytes.size();) {
    const size_t begin = pos;
    const char32_t c = NextChar(bytes, &pos);
    std::string escaped;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      escaped = std::string("\\") + static_cast<char>(c);
    } else if (c == '\n') {
      escaped = "\\n";
    } else if (c == '\r') {
      escaped = "\\r";
    } else if (c == '\t') {
      escaped = "\\t";
    } else if (c != ' ' && In(kUnprintable, c)) {
      escaped = c < 0x100     ? absl::StrFormat("\\x%02x", static_cast<uint32_t>(c))
                : c < 0x10000 ? absl::StrFormat("\\u%04x", static_cast<uint32_t>(c))
                              : absl::StrFormat("\\U%08x", static_cast<uint32_t>(c));
    } else {
      out.Append(text, begin, pos);
      continue;
    }
    out.AppendLike(escaped, text, begin);
  }
  out.Append(std::string_view(&quote, 1));
  return out;
}

void ReprInto(const Value& value, Text* out);

void ReprItems(const std::vector<Value>& items, Text* out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out->Append(", ");
    ReprInto(items[i], out);
  }
}

void ReprInto(const Value& value, Text* out) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return out->Append("Undefined");
    case Kind::kNone:
      return out->Append("None");
    case Kind::kBool:
      return out->Append(value.integer() ? "True" : "False");
    case Kind::kInt:
      return out->Append(std::to_string(value.integer()));
    case Kind::kFloat:
      return out->Append(FormatFloat(value.number()));
    case Kind::kString:
      return out->Append(QuoteString(value.text()));
    case Kind::kList:
      out->Append("[");
      ReprItems(value.items(), out);
      return out->Append("]");
    case Kind::kTuple:
      out->Append("(");
      ReprItems(value.items(), out);
      return out->Append(value.items().size() == 1 ? ",)" : ")");
    case Kind::kDict: {
      out->Append("{");
      bool first = true;
      for (const auto& [key, item] : value.dict().entries) {
        if (!std::exchange(first, false)) out->Append(", ");
        ReprInto(key, out);
        out->Append(": ");
        ReprInto(item, out);
      }
      return out->Append("}");
    }
    case Kind::kGenerator:
      return out->Append("<generator>");
    case Kind::kNamespace:
      return out->Append("<Namespace>");
    case Kind::kCallable:
      return out->Append(absl::StrCat("<function ", value.callable().name, ">"));
  }
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  absl::Status Write(const Value& value, int level) {
    switch (value.kind()) {
      case Kind::kNone:
        out_.Append("null");
        return absl::OkStatus();
      case Kind::kBool:
        out_.Append(value.integer() ? "true" : "false");
        return absl::OkStatus();
      case Kind::kInt:
      case Kind::kFloat:
        out_.Append(Number(value));
        return absl::OkStatus();
      case Kind::kString:
        WriteString(value.text());
        return absl::OkStatus();
      case Kind::kList:
      case Kind::kTuple:
        return WriteList(value.items(), level);
      case Kind::kDict:
        return WriteDict(value.dict(), level);
      default:
        return absl::InvalidArgumentError(
            absl::StrCat("an object of type ", TypeName(value), " cannot be written as JSON"));
    }
  }
  Text Take() { return std::move(out_); }

 private:
  static std::string Number(const Value& value) {
    if (!value.is(Kind::kFloat)) return std::to_string(value.integer());
    const double number = value.number();
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return FormatFloat(number);
  }

  void Escape(char32_t c, std::string* escaped) const {
    switch (c) {
      case '"':
        *escaped = "\\\"";
        return;
      case '\\':
        *escaped = "\\\\";
        return;
      case '\n':
        *escaped = "\\n";
        return;
      case '\r':
        *escaped = "\\r";
        return;
      case '\t':
        *escaped = "\\t";
        return;
      case '\b':
        *escaped = "\\b";
        return;
      case '\f':
        *escaped = "\\f";
        return;
      default:
        break;
    }
    if (c >= 0x20 && (c < 0x7F || !style_.ensure_ascii)) return;
    if (c < 0x10000) {
      *escaped = absl::StrFormat("\\u%04x", static_cast<uint32_t>(c));
    } else {
      const uint32_t rest = static_cast<uint32_t>(c) - 0x10000;
      *escaped = absl::StrFormat("\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    }
  }

  void WriteString(const Text& text) {
    out_.Append("\"");
    const std::string_view bytes = text.view();
    size_t copied = 0;
    for (size_t pos = 0; pos < bytes.size();) {
      const size_t begin = pos;
      std::string escaped;
      Escape(NextChar(bytes, &pos), &escaped);
      if (escaped.empty()) continue;
      out_.Append(text, copied, begin);
      out_.AppendLike(escaped, text, begin);
      copied = pos;
    }
    out_.Append(text, copied, text.size());
    out_.Append("\"");
  }

  void NewLine(int level) {
    if (style_.indent < 0) return;
    out_.Append("\n" + std::string(static_cast<size_t>(level * style_.indent), ' '));
  }

  absl::Status WriteList(const std::vector<Value>& items, int level) {
    if (items.empty()) {
      out_.Append("[]");
      return absl::OkStatus();
    }
    out_.Append("[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_.Append(style_.item_separator);
      NewLine(level + 1);
      RETURN_IF_ERROR(Write(items[i], level + 1));
    }
    NewLine(level);
    out_.Append("]");
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict, int level) {
    if (dict.entries.empty()) {
      out_.Append("{}");
      return absl::OkStatus();
    }
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
        const absl::StatusOr<int> order = Compare(a->first, b->first);
        return order.ok() && *order < 0;
      });
    }
    out_.Append("{");
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_.Append(style_.item_separator);
      NewLine(level + 1);
      const Value& key = entries[i]->first;
      if (key.is_string()) {
        WriteString(key.text());
      } else {
        out_.Append("\"");
        RETURN_IF_ERROR(Write(key, level));
        out_.Append("\"");
      }
      out_.Append(style_.key_separator);
      RETURN_IF_ERROR(Write(entries[i]->second, level + 1));
    }
    NewLine(level);
    out_.Append("}");
    return absl::OkStatus();
  }

  const JsonStyle& style_;
  Text out_;
};

}  // namespace

// Python's repr of a float: the shortest digits that read back the same, with an exponent below
// 1e-4 and from 1e16 on.
std::string FormatFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  const double size = std::fabs(value);
  char buffer[64];
  const bool exponent = size != 0 && (size < 1e-4 || size >= 1e16);
  const auto format = exponent ? std::chars_format::scientific : std::chars_format::fixed;
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value, format);
  std::string out(buffer, result.ptr);
  if (!exponent && out.find('.') == std::string::npos) out += ".0";
  return out;
}

Text Repr(const Value& value) {
  Text out;
  ReprInto(value, &out);
  return out;
}

Text ToText(const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is_undefined()) return Text();
  return Repr(value);
}

absl::StatusOr<Text> ToJson(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  RETURN_IF_ERROR(writer.Write(value, 0));
  return writer.Take();
}

}  // namespace tessera::server::jinja
