// What a terminal can show: colours and a progress bar.
#ifndef TESSERA_CLIENT_CLI_TERMINAL_H_
#define TESSERA_CLIENT_CLI_TERMINAL_H_

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace tessera::client {

enum class Style { kBold, kDim, kRed, kGreen, kYellow, kMagenta };

// `text` in that style, or as it is where `color` is false.
std::string Styled(std::string_view text, Style style, bool color);

// `text` with every control character, quote, backslash and byte that is not UTF-8 in its escaped
// form: safe to show on a terminal.
std::string Escaped(std::string_view text);

// 1536 becomes "1.5 KiB".
std::string HumanBytes(uint64_t bytes);

// 3725 becomes "1h02m05s".
std::string HumanSeconds(double seconds);

// A line that is redrawn in place; nothing at all where `enabled` is false. Borrows the stream.
class ProgressBar {
 public:
  ProgressBar(std::ostream& out, bool enabled, int columns)
      : out_(out), enabled_(enabled), columns_(columns) {}
  ~ProgressBar() { Clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `fraction` from 0 to 1.
  void Show(double fraction, std::string_view what);
  // Takes the line away, so that something else can be printed.
  void Clear();

 private:
  std::ostream& out_;
  const bool enabled_;
  const int columns_;
  bool shown_ = false;
};

}  // namespace tessera::client

#endif  // TESSERA_CLIENT_CLI_TERMINAL_H_
