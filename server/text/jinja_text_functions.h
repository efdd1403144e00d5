// Operations on strings that filters and methods share.
#ifndef TESSERA_SERVER_TEXT_JINJA_TEXT_FUNCTIONS_H_
#define TESSERA_SERVER_TEXT_JINJA_TEXT_FUNCTIONS_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/text/jinja_string.h"

namespace tessera::server::jinja {

class Interpreter;

// All of them know the marks of user text.
enum class Case : uint8_t { kLower, kUpper, kCapitalize, kTitle, kSwap };
Text ChangeCase(const Text& text, Case change);

// Without the characters of `chars` (white space where there are none) at its ends.
Text Strip(const Text& text, std::optional<std::string_view> chars, bool left, bool right);

// str.replace: the first `count` occurrences, all where it is negative.
absl::StatusOr<Text> Replace(Interpreter& interpreter, const Text& text, const Text& from,
                             const Text& to, int64_t count);

// str.split and str.rsplit; without a separator at runs of white space.
absl::StatusOr<std::vector<Text>> Split(Interpreter& interpreter, const Text& text,
                                        std::optional<std::string_view> separator, int64_t count);
absl::StatusOr<std::vector<Text>> SplitFromRight(Interpreter& interpreter, const Text& text,
                                                 std::optional<std::string_view> separator,
                                                 int64_t count);
std::vector<Text> SplitLines(const Text& text, bool keep_ends);

// With `fill` around it, up to `width` characters.
absl::StatusOr<Text> Pad(Interpreter& interpreter, const Text& text, int64_t width,
                         std::string_view fill, int left_parts, int right_parts);

Text EscapeHtml(const Text& text);

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_TEXT_FUNCTIONS_H_
