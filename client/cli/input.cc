#include "client/cli/input.h"

#include <istream>
#include <iterator>
#include <ostream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/terminal.h"

namespace tessera::client {

std::string TextOrStdin(const std::optional<std::string>& argument, const Io& io) {
  if (argument && *argument != "-") return *argument;
  if (io.in_is_terminal && io.err_is_terminal) {
    io.err << "(reading from the terminal; end with Ctrl-D on an empty line)" << std::endl;
  }
  std::string text{std::istreambuf_iterator<char>(io.in), std::istreambuf_iterator<char>()};
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

absl::StatusOr<std::vector<uint32_t>> ParseTokenIds(std::string_view text) {
  absl::string_view list = absl::StripAsciiWhitespace(absl::string_view(text.data(), text.size()));
  if (list.size() >= 2 && list.front() == '[' && list.back() == ']') {
    list = list.substr(1, list.size() - 2);
  }
  std::vector<uint32_t> ids;
  for (absl::string_view word :
       absl::StrSplit(list, absl::ByAnyChar(", \t\r\n"), absl::SkipEmpty())) {
    uint32_t id = 0;
    if (!absl::SimpleAtoi(word, &id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", Escaped(std::string_view(word.data(), word.size())),
                       "' is no token id; expected numbers from 0, separated by commas"));
    }
    ids.push_back(id);
  }
  return ids;
}

}  // namespace tessera::client
