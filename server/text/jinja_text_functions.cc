#include "server/text/jinja_text_functions.h"

#include <algorithm>

#include "server/text/jinja_interpreter.h"
#include "server/text/unicode.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

constexpr CategorySet kCased = Bit(Category::kLu) | Bit(Category::kLl) | Bit(Category::kLt);

bool IsLower(char32_t c) { return In(Bit(Category::kLl), c); }

// The size of a list of strings, for Reserve.
constexpr size_t kTextCost = 100;

}  // namespace

Text ChangeCase(const Text& text, Case change) {
  Text out;
  out.SetMarkup(text.markup());
  bool in_word = false;
  // Whole-text rules, like the final sigma, need neighbours: runs of one mark go through together.
  if (change == Case::kLower && text.user_spans().empty() && !text.markup())
    return Text(LowerCaseText(text.view()));
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    const char32_t c = NextChar(text.view(), &pos);
    bool upper = change == Case::kUpper;
    if (change == Case::kCapitalize) upper = begin == 0;
    if (change == Case::kTitle) upper = !in_word;
    if (change == Case::kSwap) upper = IsLower(c);
    in_word = In(kCased, c);
    std::string changed;
    for (char32_t part : upper ? UpperCase(c) : LowerCase(c)) AppendUtf8(part, &changed);
    out.AppendLike(changed, text, begin);
  }
  return out;
}

Text Strip(const Text& text, std::optional<std::string_view> chars, bool left, bool right) {
  const std::string_view bytes = text.view();
  const auto strips = [&](char32_t c) {
    if (!chars) return IsSpace(c) || (c >= 0x1C && c <= 0x1F);
    for (size_t pos = 0; pos < chars->size();) {
      if (NextChar(*chars, &pos) == c) return true;
    }
    return false;
  };
  size_t begin = 0;
  size_t end = bytes.size();
  while (left && begin < end) {
    size_t next = begin;
    if (!strips(NextChar(bytes, &next))) break;
    begin = next;
  }
  while (right && end > begin) {
    const size_t previous = PreviousChar(bytes, end);
    size_t at = previous;
    if (!strips(NextChar(bytes, &at))) break;
    end = previous;
  }
  return text.Slice(begin, end);
}

absl::StatusOr<Text> Replace(Interpreter& interpreter, const Text& text, const Text& from,
                             const Text& to, int64_t count) {
  // The matches first, so that the size is known before anything is made.
  std::vector<size_t> matches;
  const std::string_view bytes = text.view();
  const auto limit = count < 0 ? static_cast<size_t>(-1) : static_cast<size_t>(count);
  RETURN_IF_ERROR(interpreter.Spend(bytes.size() / 64));
  if (from.empty()) {
    for (size_t pos = 0; pos <= bytes.size() && matches.size() < limit;) {
      matches.push_back(pos);
      pos += pos < bytes.size() ? Utf8Length(static_cast<unsigned char>(bytes[pos])) : 1;
    }
  } else {
    for (size_t pos = bytes.find(from.view());
         pos != std::string_view::npos && matches.size() < limit;
         pos = bytes.find(from.view(), pos + from.size())) {
      matches.push_back(pos);
    }
  }
  if (matches.empty()) return text;
  RETURN_IF_ERROR(interpreter.Reserve(bytes.size()));
  if (to.size() > 0) {
    RETURN_IF_ERROR(interpreter.Reserve(matches.size() > (size_t{1} << 40) / to.size()
                                            ? size_t{1} << 40
                                            : matches.size() * to.size()));
  }
  Text out;
  size_t done = 0;
  for (size_t match : matches) {
    out.Append(text, done, match);
    out.Append(to);
    done = match + from.size();
  }
  out.Append(text, done, text.size());
  return out;
}

absl::StatusOr<std::vector<Text>> Split(Interpreter& interpreter, const Text& text,
                                        std::optional<std::string_view> separator, int64_t count) {
  const std::string_view bytes = text.view();
  std::vector<Text> parts;
  const auto more = [&] { return count < 0 || static_cast<int64_t>(parts.size()) < count; };
  size_t begin = 0;
  if (separator && separator->empty()) return absl::InvalidArgumentError("empty separator");
  if (separator) {
    for (size_t at = bytes.find(*separator); at != std::string_view::npos && more();
         at = bytes.find(*separator, begin)) {
      RETURN_IF_ERROR(interpreter.Reserve(kTextCost + at - begin));
      parts.push_back(text.Slice(begin, at));
      begin = at + separator->size();
    }
    parts.push_back(text.Slice(begin, bytes.size()));
    return parts;
  }
  const auto skip = [&](bool spaces) {
    while (begin < bytes.size()) {
      size_t next = begin;
      if (IsSpace(NextChar(bytes, &next)) != spaces) break;
      begin = next;
    }
  };
  skip(true);
  while (begin < bytes.size()) {
    const size_t start = begin;
    if (!more()) {
      parts.push_back(Strip(text.Slice(start, bytes.size()), std::nullopt, false, true));
      break;
    }
    skip(false);
    RETURN_IF_ERROR(interpreter.Reserve(kTextCost + begin - start));
    parts.push_back(text.Slice(start, begin));
    skip(true);
  }
  return parts;
}

absl::StatusOr<std::vector<Text>> SplitFromRight(Interpreter& interpreter, const Text& text,
                                                 std::optional<std::string_view> separator,
                                                 int64_t count) {
  const std::string_view bytes = text.view();
  std::vector<Text> parts;
  const auto more = [&] { return count < 0 || static_cast<int64_t>(parts.size()) < count; };
  size_t end = bytes.size();
  if (separator && separator->empty()) return absl::InvalidArgumentError("empty separator");
  if (separator) {
    while (more() && end >= separator->size()) {
      const size_t at = bytes.rfind(*separator, end - separator->size());
      if (at == std::string_view::npos) break;
      RETURN_IF_ERROR(interpreter.Reserve(kTextCost + end - at));
      parts.push_back(text.Slice(at + separator->size(), end));
      end = at;
    }
    parts.push_back(text.Slice(0, end));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  const auto skip = [&](bool spaces) {
    while (end > 0) {
      const size_t previous = PreviousChar(bytes, end);
      size_t at = previous;
      if (IsSpace(NextChar(bytes, &at)) != spaces) break;
      end = previous;
    }
  };
  skip(true);
  while (end > 0) {
    const size_t stop = end;
    if (more()) {
      skip(false);
    } else {
      end = 0;
    }
    RETURN_IF_ERROR(interpreter.Reserve(kTextCost + stop - end));
    parts.push_back(text.Slice(end, stop));
    skip(true);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> SplitLines(const Text& text, bool keep_ends) {
  std::vector<Text> lines;
  const std::string_view bytes = text.view();
  size_t begin = 0;
  for (size_t pos = 0; pos < bytes.size();) {
    const size_t at = pos;
    const char32_t c = NextChar(bytes, &pos);
    const bool ends = (c >= 0xA && c <= 0xD) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                      c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    if (c == '\r' && pos < bytes.size() && bytes[pos] == '\n') ++pos;
    lines.push_back(text.Slice(begin, keep_ends ? pos : at));
    begin = pos;
  }
  if (begin < bytes.size()) lines.push_back(text.Slice(begin, bytes.size()));
  return lines;
}

absl::StatusOr<Text> Pad(Interpreter& interpreter, const Text& text, int64_t width,
                         std::string_view fill, int left_parts, int right_parts) {
  const auto size = static_cast<int64_t>(CountChars(text.view()));
  if (width <= size) return text;
  RETURN_IF_ERROR(interpreter.Reserve(static_cast<size_t>(width) * fill.size()));
  const int64_t missing = width - size;
  int64_t left = missing * left_parts / (left_parts + right_parts);
  // Python puts the odd one to the left where the width is odd.
  if (left_parts > 0 && right_parts > 0) left = missing / 2 + (missing & width & 1);
  Text out;
  for (int64_t i = 0; i < left; ++i) out.Append(fill);
  out.Append(text);
  for (int64_t i = left; i < missing; ++i) out.Append(fill);
  return out;
}

Text EscapeHtml(const Text& text) {
  Text out;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text.str()[i]) {
      case '&':
        out.AppendLike("&amp;", text, i);
        break;
      case '<':
        out.AppendLike("&lt;", text, i);
        break;
      case '>':
        out.AppendLike("&gt;", text, i);
        break;
      case '"':
        out.AppendLike("&#34;", text, i);
        break;
      case '\'':
        out.AppendLike("&#39;", text, i);
        break;
      default:
        out.Append(text, i, i + 1);
    }
  }
  return out;
}

}  // namespace tessera::server::jinja
