// Jinja tokens to a syntax tree: Jinja 3.1's grammar with loop controls and generation blocks,
// without what needs other files (include, import, extends).
#ifndef TESSERA_SERVER_TEXT_JINJA_PARSER_H_
#define TESSERA_SERVER_TEXT_JINJA_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "server/text/jinja_ast.h"

namespace tessera::server::jinja {

// INVALID_ARGUMENT with line and column where the source is malformed, nested too deeply, or names
// a filter or test that does not exist (outside of conditions, where Jinja looks only when it
// runs).
absl::StatusOr<Body> Parse(std::string_view source);

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_PARSER_H_
