#include "server/text/jinja_expression_parser.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/text/jinja_library.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Token::Kind;

// Brackets in brackets, and operators in a row.
constexpr int kMaxNesting = 100;
constexpr int kMaxTreeDepth = 250;

std::string Describe(const Token& token) {
  switch (token.kind) {
    case Kind::kEnd:
      return "the end of the template";
    case Kind::kBlockEnd:
      return "the end of a tag";
    case Kind::kVariableEnd:
      return "the end of a print statement";
    case Kind::kString:
      return "a string";
    default:
      return absl::StrCat("'", token.text, "'");
  }
}

}  // namespace

absl::Status ExpressionParser::ErrorHere(std::string_view message) const {
  return SyntaxError(Current().line, Current().column, message);
}
absl::Status ExpressionParser::Unexpected(std::string_view expected) const {
  return ErrorHere(absl::StrCat("unexpected ", Describe(Current()), ", expected ",
                                absl::string_view(expected.data(), expected.size())));
}
bool ExpressionParser::TakeOperator(std::string_view op) {
  if (!Current().IsOperator(op)) return false;
  Skip();
  return true;
}
bool ExpressionParser::TakeName(std::string_view name) {
  if (!Current().IsName(name)) return false;
  Skip();
  return true;
}
absl::Status ExpressionParser::ExpectOperator(std::string_view op) {
  return TakeOperator(op) ? absl::OkStatus() : Unexpected("'" + std::string(op) + "'");
}
absl::StatusOr<std::string> ExpressionParser::ExpectName(std::string_view what) {
  if (Current().kind != Kind::kName) return Unexpected(what);
  std::string name = Current().text;
  Skip();
  return name;
}

ExprPtr ExpressionParser::New(Expr::Kind kind) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = Current().line;
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::Done(ExprPtr node) const {
  int depth = 0;
  const auto take = [&depth](const ExprPtr& child) {
    if (child != nullptr) depth = std::max(depth, child->depth);
  };
  for (const ExprPtr& child : node->children) take(child);
  for (const ExprPtr& child : node->args.positional) take(child);
  for (const auto& [name, child] : node->args.named) take(child);
  take(node->args.star);
  take(node->args.star_star);
  node->depth = depth + 1;
  if (node->depth > kMaxTreeDepth)
    return ErrorHere("this expression is too long or too deeply nested");
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::Tuple(bool with_condition) {
  ExprPtr tuple = New(Expr::Kind::kTuple);
  ASSIGN_OR_RETURN(ExprPtr first, Condition(with_condition));
  if (!Current().IsOperator(",")) return first;
  tuple->children.push_back(std::move(first));
  while (TakeOperator(",")) {
    const Token& next = Current();
    if (next.kind == Kind::kBlockEnd || next.kind == Kind::kVariableEnd || next.IsOperator(")") ||
        next.IsOperator("=") || next.IsName("in")) {
      break;
    }
    ASSIGN_OR_RETURN(tuple->children.emplace_back(), Condition(with_condition));
  }
  return Done(std::move(tuple));
}

absl::StatusOr<ExprPtr> ExpressionParser::Condition(bool with_condition) {
  if (++nesting_ > kMaxNesting) return ErrorHere("this expression is too deeply nested");
  ASSIGN_OR_RETURN(ExprPtr value, Or());
  while (with_condition && Current().IsName("if")) {
    ExprPtr node = New(Expr::Kind::kCondition);
    Skip();
    ++conditional_;
    ASSIGN_OR_RETURN(ExprPtr test, Or());
    node->children.push_back(std::move(test));
    node->children.push_back(std::move(value));
    if (TakeName("else")) {
      ASSIGN_OR_RETURN(node->children.emplace_back(), Condition(true));
    }
    --conditional_;
    ASSIGN_OR_RETURN(value, Done(std::move(node)));
  }
  --nesting_;
  return value;
}

absl::StatusOr<ExprPtr> ExpressionParser::Or() {
  ASSIGN_OR_RETURN(ExprPtr left, And());
  while (Current().IsName("or")) {
    ExprPtr node = New(Expr::Kind::kOr);
    Skip();
    node->children.push_back(std::move(left));
    ASSIGN_OR_RETURN(node->children.emplace_back(), And());
    ASSIGN_OR_RETURN(left, Done(std::move(node)));
  }
  return left;
}

absl::StatusOr<ExprPtr> ExpressionParser::And() {
  ASSIGN_OR_RETURN(ExprPtr left, Not());
  while (Current().IsName("and")) {
    ExprPtr node = New(Expr::Kind::kAnd);
    Skip();
    node->children.push_back(std::move(left));
    ASSIGN_OR_RETURN(node->children.emplace_back(), Not());
    ASSIGN_OR_RETURN(left, Done(std::move(node)));
  }
  return left;
}

absl::StatusOr<ExprPtr> ExpressionParser::Not() {
  if (!Current().IsName("not")) return Comparison();
  ExprPtr node = New(Expr::Kind::kNot);
  Skip();
  if (++nesting_ > kMaxNesting) return ErrorHere("this expression is too deeply nested");
  ASSIGN_OR_RETURN(node->children.emplace_back(), Not());
  --nesting_;
  return Done(std::move(node));
}

absl::StatusOr<ExprPtr> ExpressionParser::Comparison() {
  static constexpr const char* kOps[] = {"==", "!=", "<", "<=", ">", ">="};
  ExprPtr node = New(Expr::Kind::kCompare);
  ASSIGN_OR_RETURN(node->children.emplace_back(), Sum());
  while (true) {
    const Token& token = Current();
    if (token.kind == Kind::kOperator &&
        std::find(std::begin(kOps), std::end(kOps), token.text) != std::end(kOps)) {
      node->names.push_back(token.text);
      Skip();
    } else if (TakeName("in")) {
      node->names.push_back("in");
    } else if (token.IsName("not") && Ahead().IsName("in")) {
      Skip();
      Skip();
      node->names.push_back("not in");
    } else {
      break;
    }
    ASSIGN_OR_RETURN(node->children.emplace_back(), Sum());
  }
  if (node->names.empty()) return std::move(node->children[0]);
  return Done(std::move(node));
}

absl::StatusOr<ExprPtr> ExpressionParser::LeftAssociative(Rule operand,
                                                          std::initializer_list<const char*> ops) {
  ASSIGN_OR_RETURN(ExprPtr left, (this->*operand)());
  while (Current().kind == Kind::kOperator &&
         std::find(ops.begin(), ops.end(), Current().text) != ops.end()) {
    ExprPtr node = New(Expr::Kind::kBinary);
    node->name = Current().text;
    Skip();
    node->children.push_back(std::move(left));
    ASSIGN_OR_RETURN(node->children.emplace_back(), (this->*operand)());
    ASSIGN_OR_RETURN(left, Done(std::move(node)));
  }
  return left;
}

absl::StatusOr<ExprPtr> ExpressionParser::Sum() {
  return LeftAssociative(&ExpressionParser::Concatenation, {"+", "-"});
}
absl::StatusOr<ExprPtr> ExpressionParser::Product() {
  return LeftAssociative(&ExpressionParser::Power, {"*", "/", "//", "%"});
}

absl::StatusOr<ExprPtr> ExpressionParser::Concatenation() {
  ExprPtr node = New(Expr::Kind::kConcat);
  ASSIGN_OR_RETURN(node->children.emplace_back(), Product());
  while (TakeOperator("~")) {
    ASSIGN_OR_RETURN(node->children.emplace_back(), Product());
  }
  if (node->children.size() == 1) return std::move(node->children[0]);
  return Done(std::move(node));
}

absl::StatusOr<ExprPtr> ExpressionParser::Power() {
  ASSIGN_OR_RETURN(ExprPtr left, Unary(true));
  while (Current().IsOperator("**")) {
    ExprPtr node = New(Expr::Kind::kBinary);
    node->name = "**";
    Skip();
    node->children.push_back(std::move(left));
    ASSIGN_OR_RETURN(node->children.emplace_back(), Unary(true));
    ASSIGN_OR_RETURN(left, Done(std::move(node)));
  }
  return left;
}

absl::StatusOr<ExprPtr> ExpressionParser::Unary(bool with_filters) {
  const bool minus = Current().IsOperator("-");
  ExprPtr node;
  if (minus || Current().IsOperator("+")) {
    node = New(minus ? Expr::Kind::kNegative : Expr::Kind::kPositive);
    Skip();
    if (++nesting_ > kMaxNesting) return ErrorHere("this expression is too deeply nested");
    ASSIGN_OR_RETURN(node->children.emplace_back(), Unary(false));
    --nesting_;
    ASSIGN_OR_RETURN(node, Done(std::move(node)));
  } else {
    ASSIGN_OR_RETURN(node, Primary());
  }
  ASSIGN_OR_RETURN(node, Postfix(std::move(node)));
  return with_filters ? FiltersAndTests(std::move(node)) : std::move(node);
}

absl::StatusOr<ExprPtr> ExpressionParser::Primary() {
  const Token& token = Current();
  if (token.kind == Kind::kName) return Name();
  if (token.kind == Kind::kInteger || token.kind == Kind::kFloat) return Number();
  if (token.kind == Kind::kString) {
    ExprPtr node = New(Expr::Kind::kConstant);
    std::string text;
    for (; Current().kind == Kind::kString; Skip()) text += Current().text;
    node->constant = Value::String(std::move(text));
    return node;
  }
  if (token.IsOperator("(")) return Parenthesized();
  if (token.IsOperator("[")) return ListLiteral();
  if (token.IsOperator("{")) return DictLiteral();
  return Unexpected("an expression");
}

absl::StatusOr<ExprPtr> ExpressionParser::Name() {
  ExprPtr node = New(Expr::Kind::kConstant);
  std::string name = Current().text;
  Skip();
  if (name == "true" || name == "True") {
    node->constant = Value::Bool(true);
  } else if (name == "false" || name == "False") {
    node->constant = Value::Bool(false);
  } else if (name == "none" || name == "None") {
    node->constant = Value::None();
  } else {
    node->kind = Expr::Kind::kName;
    for (MacroNames& macro : macros_) {
      macro.varargs |= name == "varargs";
      macro.kwargs |= name == "kwargs";
      macro.caller |= name == "caller";
    }
    node->name = std::move(name);
  }
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::Number() {
  ExprPtr node = New(Expr::Kind::kConstant);
  const std::string& text = Current().text;
  if (Current().kind == Kind::kFloat) {
    double value = 0;
    if (!absl::SimpleAtod(text, &value)) return ErrorHere("this is no number");
    node->constant = Value::Float(value);
  } else {
    const char radix = text.size() > 2 ? static_cast<char>(text[1] | 0x20) : ' ';
    const int base = radix == 'x' ? 16 : radix == 'o' ? 8 : radix == 'b' ? 2 : 10;
    const std::string digits = base == 10 ? text : text.substr(2);
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(digits.c_str(), &end, base);
    if (errno != 0 || digits.empty() || *end != '\0')
      return ErrorHere("this number is too large or malformed");
    node->constant = Value::Int(value);
  }
  Skip();
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::Parenthesized() {
  ExprPtr empty = New(Expr::Kind::kTuple);
  Skip();
  if (TakeOperator(")")) return empty;
  ASSIGN_OR_RETURN(ExprPtr node, Tuple());
  RETURN_IF_ERROR(ExpectOperator(")"));
  return node;
}

absl::StatusOr<ExprPtr> ExpressionParser::ListLiteral() {
  ExprPtr node = New(Expr::Kind::kList);
  Skip();
  while (!Current().IsOperator("]")) {
    if (!node->children.empty()) RETURN_IF_ERROR(ExpectOperator(","));
    if (Current().IsOperator("]")) break;
    ASSIGN_OR_RETURN(node->children.emplace_back(), Expression());
  }
  Skip();
  return Done(std::move(node));
}

absl::StatusOr<ExprPtr> ExpressionParser::DictLiteral() {
  ExprPtr node = New(Expr::Kind::kDict);
  Skip();
  while (!Current().IsOperator("}")) {
    if (!node->children.empty()) RETURN_IF_ERROR(ExpectOperator(","));
    if (Current().IsOperator("}")) break;
    ASSIGN_OR_RETURN(node->children.emplace_back(), Expression());
    RETURN_IF_ERROR(ExpectOperator(":"));
    ASSIGN_OR_RETURN(node->children.emplace_back(), Expression());
  }
  Skip();
  return Done(std::move(node));
}

absl::StatusOr<ExprPtr> ExpressionParser::Postfix(ExprPtr node) {
  while (true) {
    if (Current().IsOperator(".")) {
      ASSIGN_OR_RETURN(node, Attribute(std::move(node)));
    } else if (Current().IsOperator("[")) {
      ASSIGN_OR_RETURN(node, Subscript(std::move(node)));
    } else if (Current().IsOperator("(")) {
      ASSIGN_OR_RETURN(node, Call(std::move(node)));
    } else {
      return node;
    }
  }
}

absl::StatusOr<ExprPtr> ExpressionParser::Attribute(ExprPtr object) {
  Skip();
  const bool index = Current().kind == Kind::kInteger;
  ExprPtr node = New(index ? Expr::Kind::kItem : Expr::Kind::kAttribute);
  node->children.push_back(std::move(object));
  if (index) {
    ASSIGN_OR_RETURN(node->children.emplace_back(), Number());
  } else {
    ASSIGN_OR_RETURN(node->name, ExpectName("the name of an attribute"));
  }
  return Done(std::move(node));
}

absl::StatusOr<ExprPtr> ExpressionParser::Subscript(ExprPtr object) {
  ExprPtr node = New(Expr::Kind::kSlice);
  Skip();
  node->children.push_back(std::move(object));
  ExprPtr parts[3];
  int colons = 0;
  while (!Current().IsOperator("]")) {
    if (TakeOperator(":")) {
      if (++colons > 2) return Unexpected("']'");
      continue;
    }
    if (parts[colons] != nullptr) return Unexpected("']'");
    ASSIGN_OR_RETURN(parts[colons], Tuple());
  }
  if (colons == 0 && parts[0] == nullptr) return Unexpected("an index");
  Skip();
  if (colons == 0) node->kind = Expr::Kind::kItem;
  for (int i = 0; i < (colons == 0 ? 1 : 3); ++i) node->children.push_back(std::move(parts[i]));
  return Done(std::move(node));
}

absl::StatusOr<ExprPtr> ExpressionParser::Call(ExprPtr callee) {
  ExprPtr node = New(Expr::Kind::kCall);
  node->children.push_back(std::move(callee));
  RETURN_IF_ERROR(Args(&node->args));
  return Done(std::move(node));
}

absl::Status ExpressionParser::Args(CallArgs* args) {
  RETURN_IF_ERROR(ExpectOperator("("));
  bool first = true;
  while (!Current().IsOperator(")")) {
    if (!std::exchange(first, false)) RETURN_IF_ERROR(ExpectOperator(","));
    if (Current().IsOperator(")")) break;
    if (TakeOperator("*")) {
      if (args->star != nullptr || args->star_star != nullptr) return Unexpected("one *argument");
      ASSIGN_OR_RETURN(args->star, Expression());
    } else if (TakeOperator("**")) {
      if (args->star_star != nullptr) return Unexpected("one **argument");
      ASSIGN_OR_RETURN(args->star_star, Expression());
    } else if (Current().kind == Kind::kName && Ahead().IsOperator("=")) {
      std::string name = Current().text;
      Skip();
      Skip();
      ASSIGN_OR_RETURN(ExprPtr value, Expression());
      args->named.emplace_back(std::move(name), std::move(value));
    } else {
      if (!args->named.empty() || args->star_star != nullptr) return Unexpected("a named argument");
      ASSIGN_OR_RETURN(args->positional.emplace_back(), Expression());
    }
  }
  Skip();
  return absl::OkStatus();
}

absl::StatusOr<std::string> ExpressionParser::DottedName() {
  ASSIGN_OR_RETURN(std::string name, ExpectName("a name"));
  while (TakeOperator(".")) {
    ASSIGN_OR_RETURN(const std::string part, ExpectName("a name"));
    name += "." + part;
  }
  return name;
}

absl::StatusOr<ExprPtr> ExpressionParser::Filters(ExprPtr input) {
  bool first = input == nullptr;
  while (first || Current().IsOperator("|")) {
    if (!std::exchange(first, false)) Skip();
    ExprPtr node = New(Expr::Kind::kFilter);
    node->children.push_back(std::move(input));
    const Token name = Current();
    ASSIGN_OR_RETURN(node->name, DottedName());
    if (conditional_ == 0 && !HasFilter(node->name)) {
      return SyntaxError(name.line, name.column, "there is no filter '" + node->name + "'");
    }
    if (Current().IsOperator("(")) RETURN_IF_ERROR(Args(&node->args));
    ASSIGN_OR_RETURN(input, Done(std::move(node)));
  }
  return input;
}

absl::StatusOr<ExprPtr> ExpressionParser::FiltersAndTests(ExprPtr node) {
  while (true) {
    if (Current().IsOperator("|")) {
      ASSIGN_OR_RETURN(node, Filters(std::move(node)));
    } else if (Current().IsName("is")) {
      ASSIGN_OR_RETURN(node, Test(std::move(node)));
    } else if (Current().IsOperator("(")) {
      ASSIGN_OR_RETURN(node, Call(std::move(node)));
    } else {
      return node;
    }
  }
}

absl::StatusOr<ExprPtr> ExpressionParser::Test(ExprPtr object) {
  ExprPtr node = New(Expr::Kind::kTest);
  Skip();
  node->negated = TakeName("not");
  node->children.push_back(std::move(object));
  const Token name = Current();
  ASSIGN_OR_RETURN(node->name, DottedName());
  if (conditional_ == 0 && !HasTest(node->name)) {
    return SyntaxError(name.line, name.column, "there is no test '" + node->name + "'");
  }
  const Token& next = Current();
  if (next.IsOperator("(")) {
    RETURN_IF_ERROR(Args(&node->args));
  } else if (next.kind == Kind::kString || next.kind == Kind::kInteger ||
             next.kind == Kind::kFloat || next.IsOperator("[") || next.IsOperator("{") ||
             (next.kind == Kind::kName && next.text != "else" && next.text != "or" &&
              next.text != "and")) {
    if (next.IsName("is")) return ErrorHere("tests cannot be chained with 'is'");
    ASSIGN_OR_RETURN(ExprPtr argument, Primary());
    ASSIGN_OR_RETURN(node->args.positional.emplace_back(), Postfix(std::move(argument)));
  }
  return Done(std::move(node));
}

}  // namespace tessera::server::jinja
