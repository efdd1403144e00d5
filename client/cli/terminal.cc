#include "client/cli/terminal.h"

#include <algorithm>
#include <cmath>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tessera::client {
namespace {

constexpr int kMaxBarCells = 40;

std::string_view Code(Style style) {
  switch (style) {
    case Style::kBold:
      return "1";
    case Style::kDim:
      return "2";
    case Style::kRed:
      return "31";
    case Style::kGreen:
      return "32";
    case Style::kYellow:
      return "33";
    case Style::kMagenta:
      return "35";
  }
  return "0";
}

// Bytes of the well-formed UTF-8 character at the start of `text`, 0 where there is none (Unicode
// 15, table 3-7).
size_t CharacterSize(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  if (first == 0xe0 && at(1) < 0xa0) return 0;
  if (first == 0xed && at(1) > 0x9f) return 0;
  if (first == 0xf0 && at(1) < 0x90) return 0;
  if (first == 0xf4 && at(1) > 0x8f) return 0;
  return size;
}

void AppendEscaped(unsigned char byte, std::string& out) {
  switch (byte) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '"':
      out += "\\\"";
      return;
    default:
      out += absl::StrFormat("\\x%02x", byte);
  }
}

}  // namespace

std::string Styled(std::string_view text, Style style, bool color) {
  if (!color) return std::string(text);
  return absl::StrCat("\x1b[", std::string(Code(style)), "m", std::string(text), "\x1b[0m");
}

std::string Escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text[0]);
    size_t size = CharacterSize(text);
    // U+0080 to U+009F are control characters too.
    const bool control = first < 0x20 || first == 0x7f || first == '"' || first == '\\' ||
                         (size == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (size == 0 || control) {
      size = std::max<size_t>(size, 1);
      for (size_t i = 0; i < size; ++i) AppendEscaped(text[i], out);
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size);
  }
  return out;
}

std::string HumanBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string HumanSeconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto total = static_cast<int64_t>(seconds);
  if (total < 60) return absl::StrCat(total, "s");
  if (total < 3600) return absl::StrFormat("%dm%02ds", total / 60, total % 60);
  return absl::StrFormat("%dh%02dm%02ds", total / 3600, total / 60 % 60, total % 60);
}

void ProgressBar::Show(double fraction, std::string_view what) {
  if (!enabled_) return;
  fraction = std::isfinite(fraction) ? std::clamp(fraction, 0.0, 1.0) : 0.0;
  const int cells = std::clamp(columns_ / 3, 10, kMaxBarCells);
  const int full = static_cast<int>(std::lround(fraction * cells));
  std::string line = absl::StrCat("[", std::string(full, '#'), std::string(cells - full, '.'), "] ",
                                  absl::StrFormat("%3.0f %% ", fraction * 100.0));
  const size_t room = std::max<int>(0, columns_ - 1 - static_cast<int>(line.size()));
  line += Escaped(what).substr(0, room);
  out_ << "\r\x1b[K" << line << std::flush;
  shown_ = true;
}

void ProgressBar::Clear() {
  if (!shown_) return;
  out_ << "\r\x1b[K" << std::flush;
  shown_ = false;
}

}  // namespace tessera::client
