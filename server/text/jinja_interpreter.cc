#include "server/text/jinja_interpreter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_library.h"
#include "server/text/jinja_loop.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {

// Counts how deep the interpreter is in itself.
class Interpreter::Depth {
 public:
  explicit Depth(Interpreter* interpreter) : depth_(&interpreter->depth_) { ++*depth_; }
  ~Depth() { --*depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  int* depth_;
};

const Value* Scope::Find(const std::string& name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    for (const auto& [key, value] : scope->variables) {
      if (key == name) return &value;
    }
  }
  return nullptr;
}

void Scope::Set(const std::string& name, Value value) {
  for (auto& [key, old] : variables) {
    if (key != name) continue;
    old = std::move(value);
    return;
  }
  variables.emplace_back(name, std::move(value));
}

Interpreter::Interpreter(const TemplateLimits& limits, const std::tm& now)
    : limits_(limits), now_(now) {}

Interpreter::~Interpreter() {
  for (const auto& space : namespaces_) space->attributes = Dict();
  for (const ScopePtr& scope : closures_) scope->variables.clear();
}

absl::Status Interpreter::Spend(size_t steps) {
  steps_ += steps;
  if (steps_ <= limits_.max_steps) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the chat template takes more than ", limits_.max_steps, " steps"));
}

absl::Status Interpreter::Reserve(size_t bytes) {
  memory_ = bytes > limits_.max_memory ? bytes : memory_ + bytes;
  if (memory_ <= limits_.max_memory) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the chat template makes more than ", limits_.max_memory, " bytes of text"));
}

absl::Status Interpreter::Raise(const std::string& message) {
  located_ = true;
  return absl::InvalidArgumentError(message);
}

Value Interpreter::NewNamespace(Dict attributes) {
  auto space = std::make_shared<Namespace>();
  space->attributes = std::move(attributes);
  namespaces_.push_back(space);
  return Value::FromNamespace(std::move(space));
}

absl::StatusOr<Text> Interpreter::Run(const Body& body,
                                      std::vector<std::pair<std::string, Value>> variables) {
  const auto globals = std::make_shared<Scope>(nullptr);
  globals->variables = std::move(variables);
  // What the template sets lies above what it was given.
  const auto scope = std::make_shared<Scope>(globals);
  return Capture(body, scope);
}

absl::Status Interpreter::Write(const Text& text) {
  if (out_->size() + text.size() > limits_.max_output) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the chat template writes more than ", limits_.max_output, " bytes"));
  }
  out_->Append(text);
  return Spend(text.size() / 64);
}

absl::StatusOr<Text> Interpreter::Capture(const Body& body, const ScopePtr& scope) {
  Text text;
  Text* const outer = std::exchange(out_, &text);
  const absl::Status status = Exec(body, scope);
  out_ = outer;
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(Reserve(text.size()));
  return text;
}

absl::Status Interpreter::Exec(const Body& body, const ScopePtr& scope) {
  for (const auto& stmt : body) {
    RETURN_IF_ERROR(ExecStmt(*stmt, scope));
    if (flow_ != Flow::kNext) break;
  }
  return absl::OkStatus();
}

absl::Status Interpreter::ExecStmt(const Stmt& stmt, const ScopePtr& scope) {
  const Depth depth(this);
  absl::Status status =
      depth_ > limits_.max_depth
          ? absl::ResourceExhaustedError("the chat template calls itself too deeply")
          : Spend(1);
  if (status.ok()) status = Dispatch(stmt, scope);
  if (status.ok() || std::exchange(located_, true)) return status;
  return absl::Status(status.code(), absl::StrCat("line ", stmt.line, ": ", status.message()));
}

absl::Status Interpreter::Dispatch(const Stmt& stmt, const ScopePtr& scope) {
  switch (stmt.kind) {
    case Stmt::Kind::kData:
      return Write(stmt.text);
    case Stmt::Kind::kOutput: {
      ASSIGN_OR_RETURN(const Value value, Eval(*stmt.exprs[0], scope));
      return value.is_string() ? Write(value.text()) : Write(ToText(value));
    }
    case Stmt::Kind::kIf:
      return ExecIf(stmt, scope);
    case Stmt::Kind::kFor:
      return ExecFor(stmt, scope);
    case Stmt::Kind::kSet:
      return ExecSet(stmt, scope);
    case Stmt::Kind::kSetBlock:
      return ExecSetBlock(stmt, scope);
    case Stmt::Kind::kMacro:
      scope->Set(stmt.name, MakeMacro(stmt, scope));
      return absl::OkStatus();
    case Stmt::Kind::kCallBlock:
      return ExecCallBlock(stmt, scope);
    case Stmt::Kind::kFilterBlock:
      return ExecFilterBlock(stmt, scope);
    case Stmt::Kind::kWith:
      return ExecWith(stmt, scope);
    case Stmt::Kind::kScope:
      return Exec(stmt.bodies[0], std::make_shared<Scope>(scope));
    case Stmt::Kind::kBreak:
      flow_ = Flow::kBreak;
      return absl::OkStatus();
    case Stmt::Kind::kContinue:
      flow_ = Flow::kContinue;
      return absl::OkStatus();
  }
  return absl::InternalError("a statement of no kind");
}

absl::Status Interpreter::ExecIf(const Stmt& stmt, const ScopePtr& scope) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    ASSIGN_OR_RETURN(const Value test, Eval(*stmt.exprs[i], scope));
    if (test.Truth()) return Exec(stmt.bodies[i], scope);
  }
  return stmt.bodies.size() > stmt.exprs.size() ? Exec(stmt.bodies.back(), scope)
                                                : absl::OkStatus();
}

absl::Status Interpreter::ExecFor(const Stmt& stmt, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value iterable, Eval(*stmt.exprs[0], scope));
  return RunLoop(stmt, iterable, scope, 1);
}

absl::StatusOr<std::vector<Value>> Interpreter::LoopItems(const Stmt& stmt, const Value& iterable,
                                                          const ScopePtr& scope) {
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(*this, iterable));
  if (stmt.exprs[1] == nullptr) return items;
  std::vector<Value> kept;
  for (Value& item : items) {
    const auto inner = std::make_shared<Scope>(scope);
    RETURN_IF_ERROR(Assign(stmt.target, item, inner));
    ASSIGN_OR_RETURN(const Value test, Eval(*stmt.exprs[1], inner));
    if (test.Truth()) kept.push_back(std::move(item));
  }
  return kept;
}

absl::Status Interpreter::RunLoop(const Stmt& stmt, const Value& iterable, const ScopePtr& scope,
                                  int depth) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, LoopItems(stmt, iterable, scope));
  if (items.empty()) {
    return stmt.bodies.size() > 1 ? Exec(stmt.bodies[1], std::make_shared<Scope>(scope))
                                  : absl::OkStatus();
  }
  Loop loop(items, depth);
  if (stmt.recursive) {
    loop.SetRecursion([this, &stmt, scope, depth](
                          Interpreter&, const Arguments& arguments) -> absl::StatusOr<Value> {
      if (arguments.positional.size() != 1) return TemplateError("loop() takes one argument");
      Text text;
      Text* const outer = std::exchange(out_, &text);
      const absl::Status status = RunLoop(stmt, arguments.positional[0], scope, depth + 1);
      out_ = outer;
      RETURN_IF_ERROR(status);
      return Value::String(std::move(text));
    });
  }
  for (size_t i = 0; i < items.size(); ++i) {
    const auto inner = std::make_shared<Scope>(scope);
    loop.MoveTo(i);
    inner->Set("loop", loop.value());
    RETURN_IF_ERROR(Assign(stmt.target, items[i], inner));
    RETURN_IF_ERROR(Spend(1));
    RETURN_IF_ERROR(Exec(stmt.bodies[0], inner));
    if (std::exchange(flow_, Flow::kNext) == Flow::kBreak) break;
  }
  return absl::OkStatus();
}

absl::Status Interpreter::Assign(const Target& target, const Value& value, const ScopePtr& scope) {
  if (!target.parts.empty()) {
    ASSIGN_OR_RETURN(const std::vector<Value> values, Iterate(*this, value));
    if (values.size() != target.parts.size()) {
      return TemplateError(absl::StrCat("a value of ", values.size(), " items is unpacked into ",
                                        target.parts.size(), " names"));
    }
    for (size_t i = 0; i < values.size(); ++i) {
      RETURN_IF_ERROR(Assign(target.parts[i], values[i], scope));
    }
    return absl::OkStatus();
  }
  if (target.attribute.empty()) {
    scope->Set(target.name, value);
    return absl::OkStatus();
  }
  const Value* space = scope->Find(target.name);
  if (space == nullptr || !space->is(Value::Kind::kNamespace)) {
    return TemplateError("attributes can be set on a namespace only, and '" + target.name +
                         "' is none");
  }
  space->space().attributes.Set(Value::String(target.attribute), value);
  return absl::OkStatus();
}

absl::Status Interpreter::ExecSet(const Stmt& stmt, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value value, Eval(*stmt.exprs[0], scope));
  return Assign(stmt.target, value, scope);
}

absl::Status Interpreter::ExecSetBlock(const Stmt& stmt, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(Text text, Capture(stmt.bodies[0], std::make_shared<Scope>(scope)));
  Value value = Value::String(std::move(text));
  if (stmt.exprs[0] != nullptr) {
    ASSIGN_OR_RETURN(value, EvalFilter(*stmt.exprs[0], scope, &value));
  }
  return Assign(stmt.target, value, scope);
}

absl::Status Interpreter::ExecFilterBlock(const Stmt& stmt, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(Text text, Capture(stmt.bodies[0], std::make_shared<Scope>(scope)));
  const Value input = Value::String(std::move(text));
  ASSIGN_OR_RETURN(const Value value, EvalFilter(*stmt.exprs[0], scope, &input));
  return Write(ToText(value));
}

absl::Status Interpreter::ExecWith(const Stmt& stmt, const ScopePtr& scope) {
  const auto inner = std::make_shared<Scope>(scope);
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    ASSIGN_OR_RETURN(const Value value, Eval(*stmt.exprs[i], scope));
    RETURN_IF_ERROR(Assign(stmt.targets[i], value, inner));
  }
  return Exec(stmt.bodies[0], inner);
}

absl::Status Interpreter::ExecCallBlock(const Stmt& stmt, const ScopePtr& scope) {
  const Expr& call = *stmt.exprs[0];
  ASSIGN_OR_RETURN(const Value callee, Eval(*call.children[0], scope));
  Arguments arguments;
  RETURN_IF_ERROR(EvalArguments(call.args, scope, &arguments));
  arguments.named.emplace_back("caller", MakeMacro(stmt, scope));
  ASSIGN_OR_RETURN(const Value value, Call(callee, arguments));
  return Write(ToText(value));
}

Value Interpreter::MakeMacro(const Stmt& stmt, const ScopePtr& scope) {
  closures_.push_back(scope);
  return Value::FromCallable(stmt.name,
                             [&stmt, scope](Interpreter& interpreter, const Arguments& arguments) {
                               return interpreter.CallMacro(stmt, scope, arguments);
                             });
}

absl::Status Interpreter::BindExtra(const Stmt& stmt, const Arguments& arguments, Scope* scope) {
  Dict kwargs;
  for (const auto& [name, value] : arguments.named) {
    const bool known =
        std::any_of(stmt.params.begin(), stmt.params.end(),
                    [&name = name](const auto& param) { return param.first == name; });
    if (known) continue;
    if (name == "caller" && stmt.takes_caller) {
      scope->Set("caller", value);
    } else if (stmt.takes_kwargs) {
      kwargs.Set(Value::String(name), value);
    } else {
      return TemplateError("the macro '" + stmt.name + "' takes no argument '" + name + "'");
    }
  }
  if (stmt.takes_kwargs) {
    ASSIGN_OR_RETURN(Value value, Value::FromDict(std::move(kwargs)));
    scope->Set("kwargs", std::move(value));
  }
  std::vector<Value> rest;
  for (size_t i = stmt.params.size(); i < arguments.positional.size(); ++i) {
    rest.push_back(arguments.positional[i]);
  }
  if (stmt.takes_varargs) {
    ASSIGN_OR_RETURN(Value value, Value::Sequence(Value::Kind::kTuple, std::move(rest)));
    scope->Set("varargs", std::move(value));
  } else if (!rest.empty()) {
    return TemplateError(absl::StrCat("the macro '", stmt.name, "' takes ", stmt.params.size(),
                                      " arguments, not ", arguments.positional.size()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Interpreter::CallMacro(const Stmt& stmt, const ScopePtr& scope,
                                             const Arguments& arguments) {
  const auto inner = std::make_shared<Scope>(scope);
  if (stmt.takes_caller) inner->Set("caller", Value::Undefined("'caller'"));
  for (size_t i = 0; i < stmt.params.size(); ++i) {
    const auto& [name, fallback] = stmt.params[i];
    if (const Value* given = arguments.Find(i, name)) {
      inner->Set(name, *given);
    } else if (fallback != nullptr) {
      ASSIGN_OR_RETURN(Value value, Eval(*fallback, inner));
      inner->Set(name, std::move(value));
    } else {
      inner->Set(name, Value::Undefined("the parameter '" + name + "'"));
    }
  }
  RETURN_IF_ERROR(BindExtra(stmt, arguments, inner.get()));
  const Flow flow = std::exchange(flow_, Flow::kNext);
  ASSIGN_OR_RETURN(Text text, Capture(stmt.bodies[0], inner));
  flow_ = flow;
  return Value::String(std::move(text));
}

absl::StatusOr<Value> Interpreter::Call(const Value& callee, const Arguments& arguments) {
  if (callee.is(Value::Kind::kCallable)) return callee.callable().function(*this, arguments);
  if (callee.is(Value::Kind::kNamespace)) {
    const Value* call = callee.space().attributes.Find(kCallAttribute);
    // A copy: the call may change the namespace.
    if (call != nullptr) return Value(*call).callable().function(*this, arguments);
  }
  if (callee.is_undefined()) return TemplateError(callee.undefined_name() + " is undefined");
  return TemplateError(absl::StrCat("a value of type ", TypeName(callee), " cannot be called"));
}

absl::StatusOr<Value> Interpreter::Eval(const Expr& expr, const ScopePtr& scope) {
  if (expr.kind == Expr::Kind::kConstant) return expr.constant;
  const Depth depth(this);
  if (depth_ > limits_.max_depth) {
    return absl::ResourceExhaustedError("the chat template calls itself too deeply");
  }
  RETURN_IF_ERROR(Spend(1));
  return EvalKind(expr, scope);
}

}  // namespace tessera::server::jinja
