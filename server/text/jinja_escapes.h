// The escapes of string literals.
#ifndef TESSERA_SERVER_TEXT_JINJA_ESCAPES_H_
#define TESSERA_SERVER_TEXT_JINJA_ESCAPES_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera::server::jinja {

// What Python's "unicode_escape" makes of the inside of a literal. Unknown escapes stay as they
// are. INVALID_ARGUMENT for broken \x, \u and \U, and for surrogates.
absl::StatusOr<std::string> DecodeEscapes(std::string_view literal);

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_ESCAPES_H_
