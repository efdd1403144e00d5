// Filters over strings, numbers and single values.
#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"
#include "server/text/jinja_text_functions.h"
#include "server/text/unicode.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Value::Kind;
using Result = absl::StatusOr<Value>;

template <Case change>
Result CaseFilter(Interpreter&, const Value& input, const Arguments&) {
  return Value::String(ChangeCase(ToText(input), change));
}

// Unlike str.title, a word begins behind white space and opening brackets only.
Result TitleFilter(Interpreter&, const Value& input, const Arguments&) {
  const Text text = ToText(input);
  Text out;
  bool in_word = false;
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    const char32_t c = NextChar(text.view(), &pos);
    std::string changed;
    for (char32_t part : in_word ? LowerCase(c) : UpperCase(c)) AppendUtf8(part, &changed);
    out.AppendLike(changed, text, begin);
    in_word = !(IsSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<');
  }
  return Value::String(std::move(out));
}

Result TrimFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  const Value* chars = arguments.Find(0, "chars");
  const bool given = chars != nullptr && chars->is_string();
  const auto view = given ? std::optional<std::string_view>(chars->str()) : std::nullopt;
  return Value::String(Strip(ToText(input), view, true, true));
}

Result ReplaceFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Value* from = arguments.Find(0, "old");
  const Value* to = arguments.Find(1, "new");
  if (from == nullptr || to == nullptr) return TemplateError("replace takes two strings");
  ASSIGN_OR_RETURN(const int64_t count, IntArgument(arguments, 2, "count", -1));
  ASSIGN_OR_RETURN(Text text,
                   Replace(interpreter, ToText(input), ToText(*from), ToText(*to), count));
  return Value::String(std::move(text));
}

Result LengthFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  switch (input.kind()) {
    case Kind::kString:
      RETURN_IF_ERROR(interpreter.Spend(input.text().size() / 64));
      return Value::Int(static_cast<int64_t>(CountChars(input.text().view())));
    case Kind::kList:
    case Kind::kTuple:
      return Value::Int(static_cast<int64_t>(input.items().size()));
    case Kind::kDict:
      return Value::Int(static_cast<int64_t>(input.dict().entries.size()));
    case Kind::kUndefined:
      return Value::Int(0);
    default:
      return TemplateError(absl::StrCat("a value of type ", TypeName(input), " has no length"));
  }
}

Result DefaultFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  const Value* fallback = arguments.Find(0, "default_value");
  const bool any_false = FlagArgument(arguments, 1, "boolean", false);
  if (!input.is_undefined() && !(any_false && !input.Truth())) return input;
  return fallback == nullptr ? Value::String("") : *fallback;
}

Result StringFilter(Interpreter&, const Value& input, const Arguments&) {
  return input.is_string() ? input : Value::String(ToText(input));
}

Result SafeFilter(Interpreter&, const Value& input, const Arguments&) {
  return Value::String(ToText(input).SetMarkup(true));
}

Result EscapeFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  Text text = ToText(input);
  RETURN_IF_ERROR(interpreter.Reserve(text.size() * 6));
  if (!text.markup()) text = EscapeHtml(text);
  return Value::String(std::move(text.SetMarkup(true)));
}

Result ToJsonFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = FlagArgument(arguments, 0, "ensure_ascii", false);
  const Value* indent = arguments.Find(1, "indent");
  if (indent != nullptr && indent->is_integral()) {
    if (indent->integer() > 64) return TemplateError("tojson indents by 64 at most");
    style.indent = static_cast<int>(std::max<int64_t>(indent->integer(), 0));
  }
  style.item_separator = style.indent < 0 ? ", " : ",";
  style.key_separator = ": ";
  const Value* separators = arguments.Find(2, "separators");
  if (separators != nullptr && separators->is_sequence() && separators->items().size() == 2 &&
      separators->items()[0].is_string() && separators->items()[1].is_string()) {
    style.item_separator = separators->items()[0].str();
    style.key_separator = separators->items()[1].str();
  }
  style.sort_keys = FlagArgument(arguments, 3, "sort_keys", false);
  ASSIGN_OR_RETURN(Text text, ToJson(input, style));
  RETURN_IF_ERROR(interpreter.Reserve(text.size()));
  return Value::String(std::move(text));
}

Result IndentFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Value* width = arguments.Find(0, "width");
  const bool first = FlagArgument(arguments, 1, "first", false);
  const bool blank = FlagArgument(arguments, 2, "blank", false);
  Text indention(std::string(4, ' '));
  if (width != nullptr && width->is_string()) indention = width->text();
  if (width != nullptr && width->is_integral()) {
    if (width->integer() > 1000) return TemplateError("indent takes a width up to 1000");
    indention = Text(std::string(static_cast<size_t>(std::max<int64_t>(width->integer(), 0)), ' '));
  }
  // As the original does it: a newline is added, so that one at the end is not lost.
  Text text = ToText(input);
  text.Append("\n");
  const std::vector<Text> lines = SplitLines(text, false);
  RETURN_IF_ERROR(interpreter.Reserve(text.size() + lines.size() * (indention.size() + 100)));
  Text out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.Append("\n");
    if (i == 0 ? first : blank || !lines[i].empty()) out.Append(indention);
    out.Append(lines[i]);
  }
  return Value::String(std::move(out));
}

Result FormatFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  if (!arguments.named.empty() && arguments.positional.empty()) {
    Dict dict;
    for (const auto& [name, value] : arguments.named) dict.Set(Value::String(name), value);
    Arguments named;
    ASSIGN_OR_RETURN(named.positional.emplace_back(), Value::FromDict(std::move(dict)));
    return FormatPercent(interpreter, ToText(input), named);
  }
  return FormatPercent(interpreter, ToText(input), arguments);
}

Result IntFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  const Value* fallback = arguments.Find(0, "default");
  const Value otherwise = fallback == nullptr ? Value::Int(0) : *fallback;
  ASSIGN_OR_RETURN(const int64_t base, IntArgument(arguments, 1, "base", 10));
  double number = 0;
  if (input.is_integral()) return Value::Int(input.integer());
  if (input.is_string()) {
    const std::string digits = Strip(input.text(), std::nullopt, true, true).str();
    int64_t value = 0;
    if (base == 10 && absl::SimpleAtoi(digits, &value)) return Value::Int(value);
    if (base == 16 && absl::SimpleHexAtoi(digits, &value)) return Value::Int(value);
    if (base != 10 || !absl::SimpleAtod(digits, &number)) return otherwise;
  } else if (input.is(Kind::kFloat)) {
    number = input.number();
  } else {
    return otherwise;
  }
  if (!(std::fabs(number) < 9.2e18)) return otherwise;
  return Value::Int(static_cast<int64_t>(number));
}

Result FloatFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  const Value* fallback = arguments.Find(0, "default");
  if (input.is_number()) return Value::Float(input.number());
  double number = 0;
  if (input.is_string() &&
      absl::SimpleAtod(Strip(input.text(), std::nullopt, true, true).str(), &number)) {
    return Value::Float(number);
  }
  return fallback == nullptr ? Value::Float(0) : *fallback;
}

Result AbsFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  if (input.is(Kind::kFloat)) return Value::Float(std::fabs(input.number()));
  if (!input.is_integral()) return TemplateError("abs takes a number");
  if (input.integer() >= 0) return Value::Int(input.integer());
  return BinaryOperation(interpreter, "-", Value::Int(0), input);
}

Result RoundFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  if (!input.is_number()) return TemplateError("round takes a number");
  ASSIGN_OR_RETURN(const int64_t precision, IntArgument(arguments, 0, "precision", 0));
  ASSIGN_OR_RETURN(const Text method, TextArgument(arguments, 1, "method", "common"));
  if (precision < -300 || precision > 300)
    return TemplateError("round takes a precision up to 300");
  if (method.str() == "common") {
    if (input.is_integral() && precision >= 0) return Value::Int(input.integer());
    // printf rounds the exact decimal value, ties to even, as Python's round does.
    if (precision >= 0) {
      double rounded = 0;
      const std::string digits =
          absl::StrFormat("%.*f", static_cast<int>(precision), input.number());
      if (absl::SimpleAtod(digits, &rounded)) return Value::Float(rounded);
    }
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    return Value::Float(std::nearbyint(input.number() / scale) * scale);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method.str() == "ceil") return Value::Float(std::ceil(input.number() * scale) / scale);
  if (method.str() == "floor") return Value::Float(std::floor(input.number() * scale) / scale);
  return TemplateError("round knows the methods 'common', 'ceil' and 'floor'");
}

Result CenterFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const int64_t width, IntArgument(arguments, 0, "width", 80));
  ASSIGN_OR_RETURN(Text text, Pad(interpreter, ToText(input), width, " ", 1, 1));
  return Value::String(std::move(text));
}

Result TruncateFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const int64_t length, IntArgument(arguments, 0, "length", 255));
  const bool kill_words = FlagArgument(arguments, 1, "killwords", false);
  ASSIGN_OR_RETURN(const Text end, TextArgument(arguments, 2, "end", "..."));
  ASSIGN_OR_RETURN(const int64_t leeway, IntArgument(arguments, 3, "leeway", 5));
  const Text text = ToText(input);
  const auto end_size = static_cast<int64_t>(CountChars(end.view()));
  if (length < end_size || leeway < 0 || leeway > INT32_MAX || length > INT32_MAX) {
    return TemplateError("truncate takes a length above that of its end");
  }
  if (static_cast<int64_t>(CountChars(text.view())) <= length + leeway) return Value::String(text);
  const Value bounds[3] = {Value::None(), Value::Int(length - end_size), Value::None()};
  ASSIGN_OR_RETURN(const Value cut, SliceValue(interpreter, Value::String(text), bounds));
  Text out = cut.text();
  if (const size_t space = out.str().rfind(' '); !kill_words && space != std::string::npos) {
    out = out.Slice(0, space);
  }
  out.Append(end);
  return Value::String(std::move(out));
}

Result WordCountFilter(Interpreter&, const Value& input, const Arguments&) {
  const Text text = ToText(input);
  int64_t count = 0;
  bool in_word = false;
  for (size_t pos = 0; pos < text.size();) {
    const bool word = IsWord(NextChar(text.view(), &pos));
    count += word && !in_word;
    in_word = word;
  }
  return Value::Int(count);
}

Result UrlEncodeFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  if (!input.is_string()) return TemplateError("urlencode takes a string");
  const Text& text = input.text();
  RETURN_IF_ERROR(interpreter.Reserve(text.size() * 3));
  Text out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text.str()[i]);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                       (byte >= 'a' && byte <= 'z') || byte == '_' || byte == '.' || byte == '-' ||
                       byte == '~' || byte == '/';
    out.AppendLike(plain ? std::string(1, text.str()[i]) : absl::StrFormat("%%%02X", byte), text,
                   i);
  }
  return Value::String(std::move(out));
}

Result StripTagsFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  const Text text = ToText(input);
  Text plain;
  bool in_tag = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.str()[i];
    if (c == '<') in_tag = text.str().find('>', i) != std::string::npos;
    if (!in_tag) plain.Append(text, i, i + 1);
    if (c == '>') in_tag = false;
  }
  ASSIGN_OR_RETURN(const std::vector<Text> words, Split(interpreter, plain, std::nullopt, -1));
  Text out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out.Append(" ");
    out.Append(words[i]);
  }
  return Value::String(std::move(out));
}

Result FileSizeFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  if (!input.is_number()) return TemplateError("filesizeformat takes a number");
  const bool binary = FlagArgument(arguments, 0, "binary", false);
  const double base = binary ? 1024 : 1000;
  const double size = input.number();
  if (size == 1) return Value::String("1 Byte");
  if (size < base) return Value::String(absl::StrFormat("%d Bytes", static_cast<int64_t>(size)));
  static constexpr char kUnits[] = "kMGTPEZY";
  double unit = base;
  int i = 0;
  while (i < 7 && size >= unit * base) {
    unit *= base;
    ++i;
  }
  const std::string name = binary ? std::string(1, kUnits[i] == 'k' ? 'K' : kUnits[i]) + "iB"
                                  : std::string(1, kUnits[i]) + "B";
  return Value::String(absl::StrFormat("%.1f %s", size / unit, name));
}

Result AttrFilter(Interpreter&, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text name, TextArgument(arguments, 0, "name", std::nullopt));
  if (std::optional<Value> method = BoundMethod(input, name.view())) return *std::move(method);
  if (input.is(Kind::kNamespace)) {
    if (const Value* found = input.space().attributes.Find(name.view())) return *found;
  }
  return Value::Undefined("'" + name.str() + "'");
}

Result PprintFilter(Interpreter&, const Value& input, const Arguments&) {
  return Value::String(Repr(input));
}

const FilterTable& Filters() {
  static const FilterTable* const filters = [] {
    auto* table = new FilterTable();
    AddSequenceFilters(table);
    AddTextFilters(table);
    return table;
  }();
  return *filters;
}

}  // namespace

void AddTextFilters(FilterTable* table) {
  table->insert({{"lower", CaseFilter<Case::kLower>},
                 {"upper", CaseFilter<Case::kUpper>},
                 {"capitalize", CaseFilter<Case::kCapitalize>},
                 {"title", TitleFilter},
                 {"trim", TrimFilter},
                 {"replace", ReplaceFilter},
                 {"length", LengthFilter},
                 {"count", LengthFilter},
                 {"default", DefaultFilter},
                 {"d", DefaultFilter},
                 {"string", StringFilter},
                 {"safe", SafeFilter},
                 {"e", EscapeFilter},
                 {"escape", EscapeFilter},
                 {"forceescape", EscapeFilter},
                 {"tojson", ToJsonFilter},
                 {"indent", IndentFilter},
                 {"format", FormatFilter},
                 {"int", IntFilter},
                 {"float", FloatFilter},
                 {"abs", AbsFilter},
                 {"round", RoundFilter},
                 {"center", CenterFilter},
                 {"truncate", TruncateFilter},
                 {"wordcount", WordCountFilter},
                 {"urlencode", UrlEncodeFilter},
                 {"striptags", StripTagsFilter},
                 {"filesizeformat", FileSizeFilter},
                 {"attr", AttrFilter},
                 {"pprint", PprintFilter}});
}

bool HasFilter(std::string_view name) {
  return Filters().contains(absl::string_view(name.data(), name.size()));
}

absl::StatusOr<Value> ApplyFilter(Interpreter& interpreter, std::string_view name,
                                  const Value& input, const Arguments& arguments) {
  const auto it = Filters().find(absl::string_view(name.data(), name.size()));
  if (it == Filters().end()) {
    return TemplateError("there is no filter '" + std::string(name) + "'");
  }
  return it->second(interpreter, input, arguments);
}

}  // namespace tessera::server::jinja
