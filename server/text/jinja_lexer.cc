#include "server/text/jinja_lexer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_escapes.h"
#include "server/text/unicode.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

bool IsAsciiSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// \r\n and \r become \n; one newline at the very end goes.
std::string NormalizeSource(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)), in_(source_) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (pos_ < in_.size()) RETURN_IF_ERROR(ReadRoot());
    Add(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  using Kind = Token::Kind;

  absl::Status Error(std::string_view message, size_t at) {
    MoveMark(at);
    return SyntaxError(line_, column_, message);
  }

  // Line and column are counted forward only.
  void MoveMark(size_t to) {
    for (; mark_ < to; ++mark_) {
      if (in_[mark_] == '\n') {
        ++line_;
        column_ = 1;
      } else {
        ++column_;
      }
    }
  }

  void Add(Kind kind, std::string text) { AddAt(kind, std::move(text), pos_); }
  void AddAt(Kind kind, std::string text, size_t at) {
    MoveMark(at);
    tokens_.push_back({kind, std::move(text), line_, column_});
  }

  bool At(std::string_view text) const { return in_.substr(pos_, text.size()) == text; }
  bool AtSign() const { return pos_ < in_.size() && (in_[pos_] == '-' || in_[pos_] == '+'); }

  size_t FindTag(size_t from) const {
    for (size_t at = in_.find('{', from); at != std::string_view::npos;
         at = in_.find('{', at + 1)) {
      if (at + 1 < in_.size() && (in_[at + 1] == '%' || in_[at + 1] == '{' || in_[at + 1] == '#')) {
        return at;
      }
    }
    return std::string_view::npos;
  }

  // Data before a tag at `end`, as the tag's sign and the line say.
  void AddData(size_t begin, size_t end, char sign, bool is_variable) {
    std::string_view data = in_.substr(begin, end - begin);
    if (sign == '-') {
      while (!data.empty() && IsAsciiSpace(data.back())) data.remove_suffix(1);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = data.rfind('\n');
      const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
      if ((line > 0 || line_starting_) && line < data.size() &&
          std::all_of(data.begin() + static_cast<ptrdiff_t>(line), data.end(), IsAsciiSpace)) {
        data = data.substr(0, line);
      }
    }
    if (!data.empty()) AddAt(Kind::kData, std::string(data), begin);
  }

  absl::Status ReadRoot() {
    const size_t begin = pos_;
    const size_t tag = FindTag(pos_);
    if (tag == std::string_view::npos) {
      AddAt(Kind::kData, std::string(in_.substr(begin)), begin);
      pos_ = in_.size();
      return absl::OkStatus();
    }
    const char type = in_[tag + 1];
    pos_ = tag + 2;
    const char sign = AtSign() ? in_[pos_++] : ' ';
    AddData(begin, tag, sign, type == '{');
    line_starting_ = false;
    if (type == '#') return SkipComment(tag);
    if (type == '%' && TakeRawTag("raw")) return ReadRaw(tag);
    AddAt(type == '%' ? Kind::kBlockBegin : Kind::kVariableBegin, "", tag);
    return ReadTag(type == '%' ? '%' : '}');
  }

  // Takes the end of a tag that opens with `close` ("%}", "}}" or "#}"), with what it swallows.
  bool TakeEnd(char close, bool trim = true) {
    const char end[] = {close, '}'};
    const std::string_view marker(end, 2);
    const bool block = close != '}';
    if (pos_ < in_.size() && in_[pos_] == '-' && in_.substr(pos_ + 1, 2) == marker) {
      pos_ += 3;
      while (pos_ < in_.size() && IsAsciiSpace(in_[pos_])) ++pos_;
    } else if (block && pos_ < in_.size() && in_[pos_] == '+' &&
               in_.substr(pos_ + 1, 2) == marker) {
      pos_ += 3;
    } else if (At(marker)) {
      pos_ += 2;
      if (block && trim && At("\n")) ++pos_;
    } else {
      return false;
    }
    line_starting_ = in_[pos_ - 1] == '\n';
    return true;
  }

  absl::Status SkipComment(size_t tag) {
    while (pos_ < in_.size()) {
      if ((in_[pos_] == '#' || in_[pos_] == '-' || in_[pos_] == '+') && TakeEnd('#')) {
        return absl::OkStatus();
      }
      ++pos_;
    }
    return Error("this comment is never closed", tag);
  }

  // `NAME %}` behind a block's opening; the position moves only where it is there.
  bool TakeRawTag(std::string_view name) {
    const size_t before = pos_;
    while (pos_ < in_.size() && IsAsciiSpace(in_[pos_])) ++pos_;
    if (At(name)) {
      pos_ += name.size();
      while (pos_ < in_.size() && IsAsciiSpace(in_[pos_])) ++pos_;
      // Only what follows the end of a raw block is trimmed.
      if (TakeEnd('%', name == "endraw")) return true;
    }
    pos_ = before;
    return false;
  }

  absl::Status ReadRaw(size_t tag) {
    const size_t begin = pos_;
    for (size_t at = in_.find("{%", pos_); at != std::string_view::npos;
         at = in_.find("{%", at + 2)) {
      pos_ = at + 2;
      const char sign = AtSign() ? in_[pos_++] : ' ';
      const bool starting_before = line_starting_;
      if (!TakeRawTag("endraw")) continue;
      const bool starting_after = std::exchange(line_starting_, starting_before);
      AddData(begin, at, sign, false);
      line_starting_ = starting_after;
      return absl::OkStatus();
    }
    return Error("this raw block is never closed", tag);
  }

  absl::Status ReadTag(char close) {
    const size_t tag = pos_;
    std::string brackets;  // the closing ones that are awaited
    while (true) {
      while (pos_ < in_.size() && IsAsciiSpace(in_[pos_])) ++pos_;
      if (pos_ == in_.size())
        return Error("this tag is never closed", std::max(tag, size_t{2}) - 2);
      const size_t at = pos_;
      if (brackets.empty() && TakeEnd(close)) {
        AddAt(close == '%' ? Kind::kBlockEnd : Kind::kVariableEnd, "", at);
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(ReadToken(&brackets));
    }
  }

  absl::Status ReadToken(std::string* brackets) {
    const char c = in_[pos_];
    if (IsDigit(c)) return ReadNumber();
    if (c == '\'' || c == '"') return ReadString(c);
    if (IsNameStart(c)) return ReadName();
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (std::string_view op : kOperators) {
      if (!At(op)) continue;
      if (op == "(" || op == "[" || op == "{")
        brackets->push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
      if (op == ")" || op == "]" || op == "}") {
        if (brackets->empty() || brackets->back() != op[0]) {
          return Error(absl::StrCat("unexpected '", absl::string_view(op.data(), op.size()), "'"),
                       pos_);
        }
        brackets->pop_back();
      }
      Add(Kind::kOperator, std::string(op));
      pos_ += op.size();
      return absl::OkStatus();
    }
    return Error(absl::StrCat("unexpected character '", std::string(1, c), "'"), pos_);
  }

  absl::Status ReadName() {
    const size_t begin = pos_;
    while (pos_ < in_.size()) {
      size_t next = pos_;
      const char32_t c = NextChar(in_, &next);
      if (!IsWord(c)) break;
      pos_ = next;
    }
    if (pos_ == begin) return Error("unexpected character", begin);
    AddAt(Kind::kName, std::string(in_.substr(begin, pos_ - begin)), begin);
    return absl::OkStatus();
  }

  size_t Digits(size_t at) const {
    while (at < in_.size() &&
           (IsDigit(in_[at]) || (in_[at] == '_' && at + 1 < in_.size() && IsDigit(in_[at + 1])))) {
      ++at;
    }
    return at;
  }

  absl::Status ReadNumber() {
    const size_t begin = pos_;
    const char radix = pos_ + 1 < in_.size() ? static_cast<char>(in_[pos_ + 1] | 0x20) : ' ';
    if (in_[pos_] == '0' && (radix == 'x' || radix == 'o' || radix == 'b')) {
      pos_ += 2;
      while (pos_ < in_.size() && (IsDigit(in_[pos_]) || IsNameStart(in_[pos_]))) ++pos_;
      return AddNumber(Kind::kInteger, begin);
    }
    pos_ = Digits(pos_);
    Kind kind = Kind::kInteger;
    if (pos_ + 1 < in_.size() && in_[pos_] == '.' && IsDigit(in_[pos_ + 1])) {
      kind = Kind::kFloat;
      pos_ = Digits(pos_ + 1);
    }
    if (pos_ < in_.size() && (in_[pos_] == 'e' || in_[pos_] == 'E')) {
      size_t at = pos_ + 1;
      if (at < in_.size() && (in_[at] == '+' || in_[at] == '-')) ++at;
      if (at < in_.size() && IsDigit(in_[at])) {
        kind = Kind::kFloat;
        pos_ = Digits(at);
      }
    }
    return AddNumber(kind, begin);
  }

  absl::Status AddNumber(Kind kind, size_t begin) {
    std::string text(in_.substr(begin, pos_ - begin));
    std::erase(text, '_');
    AddAt(kind, std::move(text), begin);
    return absl::OkStatus();
  }

  absl::Status ReadString(char quote) {
    const size_t begin = pos_++;
    while (pos_ < in_.size() && in_[pos_] != quote) pos_ += in_[pos_] == '\\' ? 2 : 1;
    if (pos_ >= in_.size()) return Error("this string is never closed", begin);
    absl::StatusOr<std::string> value = DecodeEscapes(in_.substr(begin + 1, pos_ - begin - 1));
    if (!value.ok()) return Error(std::string(value.status().message()), begin);
    ++pos_;
    AddAt(Kind::kString, *std::move(value), begin);
    return absl::OkStatus();
  }

  std::string source_;
  std::string_view in_;
  size_t pos_ = 0;
  size_t mark_ = 0;  // the position of line_ and column_
  int line_ = 1, column_ = 1;
  bool line_starting_ = true;  // the last tag ended at the end of a line
  std::vector<Token> tokens_;
};

}  // namespace

absl::Status SyntaxError(int line, int column, std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(
      "line ", line, ", column ", column, ": ", absl::string_view(message.data(), message.size())));
}

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  if (FindInvalidUtf8(source) != std::string_view::npos) {
    return absl::InvalidArgumentError("the template is not UTF-8");
  }
  return Lexer(NormalizeSource(source)).Run();
}

}  // namespace tessera::server::jinja
