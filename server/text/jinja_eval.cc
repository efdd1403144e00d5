// The expressions of a template, run.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {

absl::Status TemplateError(std::string_view message) {
  return absl::InvalidArgumentError(absl::string_view(message.data(), message.size()));
}

absl::StatusOr<Value> Interpreter::EvalKind(const Expr& expr, const ScopePtr& scope) {
  switch (expr.kind) {
    case Expr::Kind::kConstant:
      return expr.constant;
    case Expr::Kind::kName:
      return EvalName(expr, scope);
    case Expr::Kind::kList:
      return EvalItems(expr, Value::Kind::kList, scope);
    case Expr::Kind::kTuple:
      return EvalItems(expr, Value::Kind::kTuple, scope);
    case Expr::Kind::kDict:
      return EvalDict(expr, scope);
    case Expr::Kind::kNegative:
    case Expr::Kind::kPositive:
      return EvalSign(expr, scope);
    case Expr::Kind::kNot:
    case Expr::Kind::kAnd:
    case Expr::Kind::kOr:
      return EvalLogic(expr, scope);
    case Expr::Kind::kBinary:
      return EvalBinary(expr, scope);
    case Expr::Kind::kConcat:
      return EvalConcat(expr, scope);
    case Expr::Kind::kCompare:
      return EvalCompare(expr, scope);
    case Expr::Kind::kCondition:
      return EvalCondition(expr, scope);
    case Expr::Kind::kAttribute:
      return EvalAttribute(expr, scope);
    case Expr::Kind::kItem:
      return EvalItem(expr, scope);
    case Expr::Kind::kSlice:
      return EvalSlice(expr, scope);
    case Expr::Kind::kCall:
      return EvalCall(expr, scope);
    case Expr::Kind::kFilter:
      return EvalFilter(expr, scope, nullptr);
    case Expr::Kind::kTest:
      return EvalTest(expr, scope);
  }
  return absl::InternalError("an expression of no kind");
}

absl::StatusOr<Value> Interpreter::EvalName(const Expr& expr, const ScopePtr& scope) {
  if (const Value* value = scope->Find(expr.name)) return *value;
  const auto global = Globals().find(expr.name);
  if (global != Globals().end()) return global->second;
  return Value::Undefined("'" + expr.name + "'");
}

absl::StatusOr<Value> Interpreter::EvalItems(const Expr& expr, Value::Kind kind,
                                             const ScopePtr& scope) {
  std::vector<Value> items;
  items.reserve(expr.children.size());
  for (const ExprPtr& child : expr.children) {
    ASSIGN_OR_RETURN(items.emplace_back(), Eval(*child, scope));
  }
  return Value::Sequence(kind, std::move(items));
}

absl::StatusOr<Value> Interpreter::EvalDict(const Expr& expr, const ScopePtr& scope) {
  Dict dict;
  for (size_t i = 0; i < expr.children.size(); i += 2) {
    ASSIGN_OR_RETURN(Value key, Eval(*expr.children[i], scope));
    if (key.is(Value::Kind::kList) || key.is(Value::Kind::kDict)) {
      return TemplateError(absl::StrCat("a ", TypeName(key), " cannot be a key"));
    }
    ASSIGN_OR_RETURN(Value value, Eval(*expr.children[i + 1], scope));
    dict.Set(std::move(key), std::move(value));
  }
  return Value::FromDict(std::move(dict));
}

absl::StatusOr<Value> Interpreter::EvalSign(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value value, Eval(*expr.children[0], scope));
  const bool negative = expr.kind == Expr::Kind::kNegative;
  if (value.is_integral()) {
    if (!negative) return Value::Int(value.integer());
    return BinaryOperation(*this, "-", Value::Int(0), value);
  }
  if (value.is(Value::Kind::kFloat))
    return Value::Float(negative ? -value.number() : value.number());
  return TemplateError(absl::StrCat("a value of type ", TypeName(value), " has no sign"));
}

absl::StatusOr<Value> Interpreter::EvalLogic(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(Value left, Eval(*expr.children[0], scope));
  if (expr.kind == Expr::Kind::kNot) return Value::Bool(!left.Truth());
  if (left.Truth() == (expr.kind == Expr::Kind::kOr)) return left;
  return Eval(*expr.children[1], scope);
}

absl::StatusOr<Value> Interpreter::EvalBinary(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value left, Eval(*expr.children[0], scope));
  ASSIGN_OR_RETURN(const Value right, Eval(*expr.children[1], scope));
  return BinaryOperation(*this, expr.name, left, right);
}

absl::StatusOr<Value> Interpreter::EvalConcat(const Expr& expr, const ScopePtr& scope) {
  Text text;
  for (const ExprPtr& child : expr.children) {
    ASSIGN_OR_RETURN(const Value value, Eval(*child, scope));
    text.Append(ToText(value));
    RETURN_IF_ERROR(Reserve(text.size()));
  }
  return Value::String(std::move(text));
}

absl::StatusOr<Value> Interpreter::EvalCompare(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(Value left, Eval(*expr.children[0], scope));
  for (size_t i = 0; i < expr.names.size(); ++i) {
    ASSIGN_OR_RETURN(Value right, Eval(*expr.children[i + 1], scope));
    ASSIGN_OR_RETURN(const bool holds, CompareOperation(expr.names[i], left, right));
    if (!holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

absl::StatusOr<Value> Interpreter::EvalCondition(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value test, Eval(*expr.children[0], scope));
  if (test.Truth()) return Eval(*expr.children[1], scope);
  if (expr.children.size() > 2) return Eval(*expr.children[2], scope);
  return Value::Undefined("an 'if' expression without 'else', whose condition is false,");
}

absl::StatusOr<Value> Interpreter::EvalAttribute(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value object, Eval(*expr.children[0], scope));
  return GetAttribute(*this, object, expr.name);
}

absl::StatusOr<Value> Interpreter::EvalItem(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value object, Eval(*expr.children[0], scope));
  ASSIGN_OR_RETURN(const Value key, Eval(*expr.children[1], scope));
  return GetItem(*this, object, key);
}

absl::StatusOr<Value> Interpreter::EvalSlice(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value object, Eval(*expr.children[0], scope));
  Value bounds[3] = {Value::None(), Value::None(), Value::None()};
  for (size_t i = 0; i < 3; ++i) {
    if (expr.children[i + 1] == nullptr) continue;
    ASSIGN_OR_RETURN(bounds[i], Eval(*expr.children[i + 1], scope));
  }
  return SliceValue(*this, object, bounds);
}

absl::Status Interpreter::EvalArguments(const CallArgs& args, const ScopePtr& scope,
                                        Arguments* out) {
  for (const ExprPtr& arg : args.positional) {
    ASSIGN_OR_RETURN(out->positional.emplace_back(), Eval(*arg, scope));
  }
  for (const auto& [name, arg] : args.named) {
    ASSIGN_OR_RETURN(Value value, Eval(*arg, scope));
    out->named.emplace_back(name, std::move(value));
  }
  if (args.star != nullptr) {
    ASSIGN_OR_RETURN(const Value rest, Eval(*args.star, scope));
    ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(*this, rest));
    out->positional.insert(out->positional.end(), items.begin(), items.end());
  }
  if (args.star_star != nullptr) {
    ASSIGN_OR_RETURN(const Value rest, Eval(*args.star_star, scope));
    if (!rest.is(Value::Kind::kDict)) return TemplateError("only a dict can follow **");
    for (const auto& [key, value] : rest.dict().entries) {
      if (!key.is_string()) return TemplateError("the names of arguments must be strings");
      out->named.emplace_back(key.str(), value);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Interpreter::EvalCall(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value callee, Eval(*expr.children[0], scope));
  Arguments arguments;
  RETURN_IF_ERROR(EvalArguments(expr.args, scope, &arguments));
  return Call(callee, arguments);
}

absl::StatusOr<Value> Interpreter::EvalFilter(const Expr& expr, const ScopePtr& scope,
                                              const Value* input) {
  Value value;
  if (const Expr* child = expr.children[0].get()) {
    // The innermost filter of a chain in a filter block has no child: the block's text goes there.
    if (child->kind == Expr::Kind::kFilter && input != nullptr) {
      ASSIGN_OR_RETURN(value, EvalFilter(*child, scope, input));
    } else {
      ASSIGN_OR_RETURN(value, Eval(*child, scope));
    }
  } else if (input != nullptr) {
    value = *input;
  }
  Arguments arguments;
  RETURN_IF_ERROR(EvalArguments(expr.args, scope, &arguments));
  return ApplyFilter(*this, expr.name, value, arguments);
}

absl::StatusOr<Value> Interpreter::EvalTest(const Expr& expr, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value value, Eval(*expr.children[0], scope));
  Arguments arguments;
  RETURN_IF_ERROR(EvalArguments(expr.args, scope, &arguments));
  ASSIGN_OR_RETURN(const bool holds, ApplyTest(*this, expr.name, value, arguments));
  return Value::Bool(holds != expr.negated);
}

}  // namespace tessera::server::jinja
