// Runs a template.
#ifndef TESSERA_SERVER_TEXT_JINJA_INTERPRETER_H_
#define TESSERA_SERVER_TEXT_JINJA_INTERPRETER_H_

#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/text/chat_template.h"
#include "server/text/jinja_ast.h"

namespace tessera::server::jinja {

// Variables by name, inside of others.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> outer) : parent(std::move(outer)) {}

  const Value* Find(const std::string& name) const;
  void Set(const std::string& name, Value value);

  std::shared_ptr<Scope> parent;  // shared with the macros that were defined in it
  std::vector<std::pair<std::string, Value>> variables;
};

// One render. Not thread-safe.
class Interpreter {
 public:
  Interpreter(const TemplateLimits& limits, const std::tm& now);
  // Breaks the cycles that namespaces and macros may form.
  ~Interpreter();

  // `variables` are the template's global names. RESOURCE_EXHAUSTED beyond a limit,
  // INVALID_ARGUMENT where the template fails.
  absl::StatusOr<Text> Run(const Body& body, std::vector<std::pair<std::string, Value>> variables);

  absl::StatusOr<Value> Call(const Value& callee, const Arguments& arguments);
  // A new object for namespace(); it is emptied when the render ends.
  Value NewNamespace(Dict attributes);
  // The template itself refuses, with a message for the user.
  absl::Status Raise(const std::string& message);
  const std::tm& now() const { return now_; }

  // To be asked before so many bytes are made, or so many steps done.
  absl::Status Reserve(size_t bytes);
  absl::Status Spend(size_t steps);

 private:
  using ScopePtr = std::shared_ptr<Scope>;
  enum class Flow : uint8_t { kNext, kBreak, kContinue };
  class Depth;

  absl::Status Exec(const Body& body, const ScopePtr& scope);
  absl::Status ExecStmt(const Stmt& stmt, const ScopePtr& scope);
  absl::Status Dispatch(const Stmt& stmt, const ScopePtr& scope);
  absl::Status ExecIf(const Stmt& stmt, const ScopePtr& scope);
  absl::Status ExecFor(const Stmt& stmt, const ScopePtr& scope);
  absl::Status RunLoop(const Stmt& stmt, const Value& iterable, const ScopePtr& scope, int depth);
  absl::StatusOr<std::vector<Value>> LoopItems(const Stmt& stmt, const Value& iterable,
                                               const ScopePtr& scope);
  absl::Status ExecSet(const Stmt& stmt, const ScopePtr& scope);
  absl::Status ExecSetBlock(const Stmt& stmt, const ScopePtr& scope);
  absl::Status ExecCallBlock(const Stmt& stmt, const ScopePtr& scope);
  absl::Status ExecFilterBlock(const Stmt& stmt, const ScopePtr& scope);
  absl::Status ExecWith(const Stmt& stmt, const ScopePtr& scope);
  Value MakeMacro(const Stmt& stmt, const ScopePtr& scope);
  absl::StatusOr<Value> CallMacro(const Stmt& stmt, const ScopePtr& scope,
                                  const Arguments& arguments);
  absl::Status BindExtra(const Stmt& stmt, const Arguments& arguments, Scope* scope);
  absl::Status Assign(const Target& target, const Value& value, const ScopePtr& scope);
  // What `body` writes.
  absl::StatusOr<Text> Capture(const Body& body, const ScopePtr& scope);
  absl::Status Write(const Text& text);

  absl::StatusOr<Value> Eval(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalKind(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalName(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalItems(const Expr& expr, Value::Kind kind, const ScopePtr& scope);
  absl::StatusOr<Value> EvalDict(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalSign(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalLogic(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalBinary(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalConcat(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalCompare(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalCondition(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalAttribute(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalItem(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalSlice(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalCall(const Expr& expr, const ScopePtr& scope);
  absl::StatusOr<Value> EvalFilter(const Expr& expr, const ScopePtr& scope, const Value* input);
  absl::StatusOr<Value> EvalTest(const Expr& expr, const ScopePtr& scope);
  absl::Status EvalArguments(const CallArgs& args, const ScopePtr& scope, Arguments* out);

  const TemplateLimits limits_;
  const std::tm now_;
  size_t steps_ = 0;
  size_t memory_ = 0;
  int depth_ = 0;
  Flow flow_ = Flow::kNext;
  bool located_ = false;  // the error on its way out says where it happened
  Text* out_ = nullptr;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<ScopePtr> closures_;
};

// Operators.
absl::StatusOr<Value> BinaryOperation(Interpreter& interpreter, const std::string& op,
                                      const Value& left, const Value& right);
absl::StatusOr<bool> CompareOperation(const std::string& op, const Value& left, const Value& right);
absl::StatusOr<Value> SliceValue(Interpreter& interpreter, const Value& object,
                                 const Value (&bounds)[3]);

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_INTERPRETER_H_
