// The pattern of a Split or a Replace: a literal string or a regular expression.
#ifndef TESSERA_SERVER_TEXT_TEXT_PATTERN_H_
#define TESSERA_SERVER_TEXT_TEXT_PATTERN_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/text/class_pattern.h"
#include "server/text/regex.h"

namespace tessera::server {

// Immutable; thread-safe.
class TextPattern {
 public:
  static TextPattern Literal(std::string text) {
    TextPattern pattern;
    pattern.literal_ = std::move(text);
    return pattern;
  }
  // Hand-written matching where the expression has the usual shape, else Oniguruma.
  static absl::StatusOr<TextPattern> Expression(std::string_view expression);

  // Calls `found(begin, end)` for each match, left to right, not overlapping.
  absl::Status FindAll(std::string_view text,
                       absl::FunctionRef<void(size_t begin, size_t end)> found) const;

  const std::optional<std::string>& literal() const { return literal_; }

 private:
  std::optional<std::string> literal_;
  std::optional<ClassPattern> classes_;
  std::optional<Regex> regex_;
};

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_TEXT_PATTERN_H_
