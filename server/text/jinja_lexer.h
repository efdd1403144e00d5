// Jinja source to tokens, with the white-space rules that transformers sets: trim_blocks and
// lstrip_blocks.
#ifndef TESSERA_SERVER_TEXT_JINJA_LEXER_H_
#define TESSERA_SERVER_TEXT_JINJA_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::server::jinja {

struct Token {
  enum class Kind : uint8_t {
    kData,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind;
  std::string text;  // data; a string's value; a number without underscores
  int line;          // from 1
  int column;        // from 1, in bytes

  bool Is(Kind k, std::string_view t) const { return kind == k && text == t; }
  bool IsOperator(std::string_view op) const { return Is(Kind::kOperator, op); }
  bool IsName(std::string_view name) const { return Is(Kind::kName, name); }
};

// "line 3, column 7: MESSAGE".
absl::Status SyntaxError(int line, int column, std::string_view message);

// The last token is kEnd. INVALID_ARGUMENT with line and column.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_LEXER_H_
