// Regular expressions through Oniguruma, with limits that keep a hostile pattern from hanging us.
#ifndef TESSERA_SERVER_TEXT_REGEX_H_
#define TESSERA_SERVER_TEXT_REGEX_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct re_pattern_buffer;  // Oniguruma's regex_t

namespace tessera::server {

// A compiled pattern. Immutable; thread-safe.
class Regex {
 public:
  // Oniguruma's own syntax, UTF-8. INVALID_ARGUMENT with the pattern where it does not compile.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);

  // Calls `found(begin, end)` for each match in turn. An empty match that begins where the last one
  // ended is skipped. INVALID_ARGUMENT where the search needs more than the limits allow.
  absl::Status FindAll(std::string_view text,
                       absl::FunctionRef<void(size_t begin, size_t end)> found) const;

 private:
  struct Free {
    void operator()(re_pattern_buffer* regex) const;
  };
  explicit Regex(re_pattern_buffer* regex) : regex_(regex) {}
  std::unique_ptr<re_pattern_buffer, Free> regex_;
};

// `text` with every character that has a meaning in a pattern escaped.
std::string EscapeRegex(std::string_view text);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_REGEX_H_
