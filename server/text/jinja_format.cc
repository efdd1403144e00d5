// printf-style formatting and str.format, with Python's meaning.
#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"
#include "server/text/jinja_text_functions.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

constexpr int64_t kMaxWidth = 10'000;

// [[fill]align][sign][#][0][width][,][.precision][type], and what "%" has of it.
struct Spec {
  std::string fill = " ";
  char align = 0;  // '<', '>', '^', '=', or 0: by type
  char sign = '-';
  bool alternate = false, zero = false, comma = false;
  int64_t width = 0, precision = -1;
  char type = 0;
};

absl::Status BadFormat() { return TemplateError("the format string is malformed"); }

absl::Status ReadNumber(std::string_view text, size_t* pos, int64_t* number) {
  *number = 0;
  while (*pos < text.size() && text[*pos] >= '0' && text[*pos] <= '9') {
    *number = *number * 10 + (text[(*pos)++] - '0');
    if (*number > kMaxWidth) {
      return TemplateError(absl::StrCat("a format asks for a width above ", kMaxWidth));
    }
  }
  return absl::OkStatus();
}

std::string WithCommas(const std::string& digits) {
  const size_t end = std::min(digits.find('.'), digits.size());
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && i < end && (end - i) % 3 == 0) out.push_back(',');
    out.push_back(digits[i]);
  }
  return out;
}

// The digits of a number without its sign.
absl::StatusOr<std::string> Digits(const Value& value, const Spec& spec) {
  const char type = spec.type == 0 ? (value.is_integral() ? 'd' : 'r') : spec.type;
  if (type == 'd' || type == 'i' || type == 'u' || type == 'x' || type == 'X' || type == 'o' ||
      type == 'b') {
    if (!value.is_integral() &&
        !(value.is(Value::Kind::kFloat) && std::fabs(value.number()) < 9e18)) {
      return TemplateError("a format for whole numbers got something else");
    }
    const int64_t number =
        value.is_integral() ? value.integer() : static_cast<int64_t>(value.number());
    uint64_t size = number < 0 ? ~static_cast<uint64_t>(number) + 1 : static_cast<uint64_t>(number);
    if (type == 'x') return absl::StrCat(spec.alternate ? "0x" : "", absl::StrFormat("%x", size));
    if (type == 'X') return absl::StrCat(spec.alternate ? "0X" : "", absl::StrFormat("%X", size));
    if (type == 'o') return absl::StrCat(spec.alternate ? "0o" : "", absl::StrFormat("%o", size));
    if (type != 'b') return absl::StrCat(size);
    std::string bits;
    for (int at = 63; at >= 0; --at) {
      const bool one = size >> at & 1;
      if (one || !bits.empty() || at == 0) bits.push_back(one ? '1' : '0');
    }
    return absl::StrCat(spec.alternate ? "0b" : "", bits);
  }
  const double size = std::fabs(value.number());
  const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
  switch (type) {
    case 'f':
    case 'F':
      return absl::StrFormat("%.*f", precision, size);
    case 'e':
      return absl::StrFormat("%.*e", precision, size);
    case 'E':
      return absl::StrFormat("%.*E", precision, size);
    case 'g':
      return absl::StrFormat("%.*g", precision, size);
    case 'G':
      return absl::StrFormat("%.*G", precision, size);
    case '%':
      return absl::StrFormat("%.*f%%", precision, size * 100);
    case 'r':
      return spec.precision < 0 ? FormatFloat(size) : absl::StrFormat("%.*g", precision, size);
    default:
      return TemplateError("a format for numbers is not known");
  }
}

absl::StatusOr<Text> Padded(Interpreter& interpreter, Text text, const Spec& spec,
                            char by_default) {
  const char align = spec.align == 0 ? by_default : spec.align;
  const int left = align == '<' ? 0 : 1;
  const int right = align == '<' || align == '^' ? 1 : 0;
  const auto size = static_cast<int64_t>(CountChars(text.view()));
  if (align != '^') return Pad(interpreter, text, spec.width, spec.fill, left, right);
  Text out;
  for (int64_t i = 0; i < (spec.width - size) / 2; ++i) out.Append(spec.fill);
  out.Append(text);
  for (int64_t i = 0; i < (spec.width - size + 1) / 2; ++i) out.Append(spec.fill);
  return out;
}

absl::StatusOr<Text> FormatValue(Interpreter& interpreter, const Value& value, const Spec& spec) {
  const bool numeric = spec.type != 's' && spec.type != 'r' && spec.type != 'a' &&
                       spec.type != 'c' && value.is_number() &&
                       !(spec.type == 0 && value.is(Value::Kind::kBool));
  if (!numeric) {
    if (spec.type != 0 && std::string_view("srac").find(spec.type) == std::string_view::npos) {
      return TemplateError(absl::StrCat("a format for numbers got a ", TypeName(value)));
    }
    Text text = spec.type == 'r' || spec.type == 'a' ? Repr(value) : ToText(value);
    if (spec.precision >= 0) {
      const Value bounds[3] = {Value::None(), Value::Int(spec.precision), Value::None()};
      ASSIGN_OR_RETURN(const Value cut, SliceValue(interpreter, Value::String(text), bounds));
      text = cut.text();
    }
    return Padded(interpreter, std::move(text), spec, '<');
  }
  ASSIGN_OR_RETURN(std::string digits, Digits(value, spec));
  if (spec.comma) digits = WithCommas(digits);
  const bool negative =
      value.is(Value::Kind::kFloat) ? std::signbit(value.number()) : value.integer() < 0;
  const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  const auto missing = spec.width - static_cast<int64_t>(sign.size() + digits.size());
  if ((spec.zero && spec.align == 0) || spec.align == '=') {
    if (missing > 0) digits.insert(0, static_cast<size_t>(missing), spec.zero ? '0' : spec.fill[0]);
    return Text(absl::StrCat(sign, digits));
  }
  return Padded(interpreter, Text(absl::StrCat(sign, digits)), spec, '>');
}

absl::Status ReadSpec(std::string_view text, Spec* spec) {
  size_t pos = 0;
  const auto is_align = [&](size_t at) {
    return at < text.size() && std::string_view("<>^=").find(text[at]) != std::string_view::npos;
  };
  if (!text.empty()) {
    size_t next = 0;
    NextChar(text, &next);
    if (is_align(next)) {
      spec->fill = std::string(text.substr(0, next));
      pos = next;
    }
  }
  if (is_align(pos)) spec->align = text[pos++];
  if (pos < text.size() && std::string_view("+- ").find(text[pos]) != std::string_view::npos)
    spec->sign = text[pos++];
  if (pos < text.size() && text[pos] == '#') spec->alternate = ++pos;
  if (pos < text.size() && text[pos] == '0') spec->zero = ++pos;
  RETURN_IF_ERROR(ReadNumber(text, &pos, &spec->width));
  if (pos < text.size() && text[pos] == ',') spec->comma = ++pos;
  if (pos < text.size() && text[pos] == '.') {
    ++pos;
    RETURN_IF_ERROR(ReadNumber(text, &pos, &spec->precision));
  }
  if (pos < text.size()) spec->type = text[pos++];
  return pos == text.size() ? absl::OkStatus() : BadFormat();
}

// What "{0.name[key]:>10}" stands for, without the braces.
class Field {
 public:
  Field(Interpreter& interpreter, const Arguments& arguments, size_t* automatic)
      : interpreter_(interpreter), arguments_(arguments), automatic_(automatic) {}

  absl::StatusOr<Text> Format(std::string_view field) {
    const size_t colon = std::min(field.find(':'), field.size());
    std::string_view name = field.substr(0, colon);
    Spec spec;
    if (colon < field.size()) RETURN_IF_ERROR(ReadSpec(field.substr(colon + 1), &spec));
    if (name.size() >= 2 && name[name.size() - 2] == '!') {
      spec.type = name.back();
      name.remove_suffix(2);
    }
    ASSIGN_OR_RETURN(const Value value, Find(name));
    return FormatValue(interpreter_, value, spec);
  }

 private:
  absl::StatusOr<Value> Find(std::string_view path) {
    size_t at = std::min(path.find_first_of(".["), path.size());
    const std::string first(path.substr(0, at));
    ASSIGN_OR_RETURN(Value value, Argument(first));
    while (at < path.size()) {
      const bool item = path[at] == '[';
      const size_t end =
          item ? path.find(']', at) : std::min(path.find_first_of(".[", at + 1), path.size());
      if (end == std::string_view::npos) return BadFormat();
      const std::string part(path.substr(at + 1, end - at - 1));
      int64_t index = 0;
      ASSIGN_OR_RETURN(value, item && absl::SimpleAtoi(part, &index)
                                  ? GetItem(interpreter_, value, Value::Int(index))
                                  : GetItem(interpreter_, value, Value::String(part)));
      at = item ? end + 1 : end;
    }
    return value;
  }

  absl::StatusOr<Value> Argument(const std::string& name) {
    size_t index = 0;
    if (name.empty()) {
      index = (*automatic_)++;
    } else if (!absl::SimpleAtoi(name, &index)) {
      for (const auto& [key, value] : arguments_.named) {
        if (key == name) return value;
      }
      return TemplateError("format() got no argument '" + name + "'");
    }
    if (index < arguments_.positional.size()) return arguments_.positional[index];
    return TemplateError("format() got too few arguments");
  }

  Interpreter& interpreter_;
  const Arguments& arguments_;
  size_t* automatic_;
};

// Reads "%(name)-5.2d" behind the percent sign.
absl::Status ReadPercent(std::string_view text, size_t* pos, std::string* name, Spec* spec) {
  if (*pos < text.size() && text[*pos] == '(') {
    const size_t close = text.find(')', *pos);
    if (close == std::string_view::npos) return BadFormat();
    *name = std::string(text.substr(*pos + 1, close - *pos - 1));
    *pos = close + 1;
  }
  for (; *pos < text.size(); ++*pos) {
    const char c = text[*pos];
    if (c == '-')
      spec->align = '<';
    else if (c == '+' || c == ' ')
      spec->sign = c;
    else if (c == '#')
      spec->alternate = true;
    else if (c == '0')
      spec->zero = true;
    else
      break;
  }
  RETURN_IF_ERROR(ReadNumber(text, pos, &spec->width));
  if (*pos < text.size() && text[*pos] == '.') {
    ++*pos;
    RETURN_IF_ERROR(ReadNumber(text, pos, &spec->precision));
  }
  if (*pos == text.size()) return BadFormat();
  spec->type = text[(*pos)++];
  if (spec->align == 0 && !spec->zero) spec->align = '>';
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Value> FormatPercent(Interpreter& interpreter, const Text& format,
                                    const Arguments& arguments) {
  const std::string_view text = format.view();
  Text out;
  size_t next = 0;
  size_t copied = 0;
  bool named = false;
  for (size_t percent = text.find('%'); percent != std::string_view::npos;
       percent = text.find('%', copied)) {
    out.Append(format, copied, percent);
    size_t pos = percent + 1;
    Spec spec;
    std::string name;
    RETURN_IF_ERROR(ReadPercent(text, &pos, &name, &spec));
    copied = pos;
    if (spec.type == '%') {
      out.Append("%");
      continue;
    }
    Value value;
    if (!name.empty()) {
      named = true;
      if (arguments.positional.size() != 1) return TemplateError("the format needs a dict");
      ASSIGN_OR_RETURN(value, GetItem(interpreter, arguments.positional[0], Value::String(name)));
    } else {
      if (next >= arguments.positional.size())
        return TemplateError("not enough arguments for the format");
      value = arguments.positional[next++];
    }
    ASSIGN_OR_RETURN(const Text part, FormatValue(interpreter, value, spec));
    RETURN_IF_ERROR(interpreter.Reserve(part.size()));
    out.Append(part);
  }
  if (!named && next < arguments.positional.size() &&
      !(arguments.positional.size() == 1 && arguments.positional[0].is(Value::Kind::kDict))) {
    return TemplateError("the format did not use all of its arguments");
  }
  out.Append(format, copied, text.size());
  return Value::String(std::move(out));
}

absl::StatusOr<Value> FormatBraces(Interpreter& interpreter, const Text& format,
                                   const Arguments& arguments) {
  const std::string_view text = format.view();
  Text out;
  size_t automatic = 0;
  Field field(interpreter, arguments, &automatic);
  for (size_t pos = 0; pos < text.size();) {
    const char c = text[pos];
    if ((c == '{' || c == '}') && pos + 1 < text.size() && text[pos + 1] == c) {
      out.Append(format, pos, pos + 1);
      pos += 2;
    } else if (c == '{') {
      const size_t close = text.find('}', pos);
      if (close == std::string_view::npos) return BadFormat();
      ASSIGN_OR_RETURN(const Text part, field.Format(text.substr(pos + 1, close - pos - 1)));
      RETURN_IF_ERROR(interpreter.Reserve(part.size()));
      out.Append(part);
      pos = close + 1;
    } else if (c == '}') {
      return BadFormat();
    } else {
      const size_t end = std::min(text.find_first_of("{}", pos), text.size());
      out.Append(format, pos, end);
      pos = end;
    }
  }
  return Value::String(std::move(out));
}

}  // namespace tessera::server::jinja
