// The expressions of a template.
#ifndef TESSERA_SERVER_TEXT_JINJA_EXPRESSION_PARSER_H_
#define TESSERA_SERVER_TEXT_JINJA_EXPRESSION_PARSER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/text/jinja_ast.h"
#include "server/text/jinja_lexer.h"

namespace tessera::server::jinja {

class ExpressionParser {
 protected:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& Current() const { return tokens_[at_]; }
  const Token& Ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void Skip() { at_ += at_ + 1 < tokens_.size(); }
  bool TakeOperator(std::string_view op);
  bool TakeName(std::string_view name);
  absl::Status ExpectOperator(std::string_view op);
  absl::StatusOr<std::string> ExpectName(std::string_view what);
  absl::Status Unexpected(std::string_view expected) const;
  absl::Status ErrorHere(std::string_view message) const;

  absl::StatusOr<ExprPtr> Expression() { return Condition(true); }
  // a, b: a tuple where there is a comma. `with_condition`: elements may be "x if y else z".
  absl::StatusOr<ExprPtr> Tuple(bool with_condition = true);
  // `| name(args)` behind `input`, any number; at least one where `input` is nullptr.
  absl::StatusOr<ExprPtr> Filters(ExprPtr input);

  // What is being parsed runs only under a condition.
  int conditional_ = 0;
  // Names that a macro's body may mention to get what the call gave too much.
  struct MacroNames {
    bool varargs = false, kwargs = false, caller = false;
  };
  std::vector<MacroNames> macros_;

 private:
  absl::StatusOr<ExprPtr> Condition(bool with_condition);
  absl::StatusOr<ExprPtr> Or();
  absl::StatusOr<ExprPtr> And();
  absl::StatusOr<ExprPtr> Not();
  absl::StatusOr<ExprPtr> Comparison();
  absl::StatusOr<ExprPtr> Sum();
  absl::StatusOr<ExprPtr> Concatenation();
  absl::StatusOr<ExprPtr> Product();
  absl::StatusOr<ExprPtr> Power();
  absl::StatusOr<ExprPtr> Unary(bool with_filters);
  absl::StatusOr<ExprPtr> Primary();
  absl::StatusOr<ExprPtr> Name();
  absl::StatusOr<ExprPtr> Number();
  absl::StatusOr<ExprPtr> Parenthesized();
  absl::StatusOr<ExprPtr> ListLiteral();
  absl::StatusOr<ExprPtr> DictLiteral();
  absl::StatusOr<ExprPtr> Postfix(ExprPtr node);
  absl::StatusOr<ExprPtr> Attribute(ExprPtr node);
  absl::StatusOr<ExprPtr> Subscript(ExprPtr node);
  absl::StatusOr<ExprPtr> FiltersAndTests(ExprPtr node);
  absl::StatusOr<ExprPtr> Test(ExprPtr node);
  absl::StatusOr<ExprPtr> Call(ExprPtr node);
  absl::Status Args(CallArgs* args);
  absl::StatusOr<std::string> DottedName();

  ExprPtr New(Expr::Kind kind) const;
  // Takes the children's depth over; refuses trees that are too deep.
  absl::StatusOr<ExprPtr> Done(ExprPtr node) const;
  using Rule = absl::StatusOr<ExprPtr> (ExpressionParser::*)();
  absl::StatusOr<ExprPtr> LeftAssociative(Rule operand, std::initializer_list<const char*> ops);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;  // of the parser's own calls
};

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_EXPRESSION_PARSER_H_
