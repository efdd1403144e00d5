#include "server/text/jinja_parser.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_expression_parser.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

constexpr int kMaxBlockNesting = 64;

class Parser : public ExpressionParser {
 public:
  explicit Parser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {}

  absl::StatusOr<Body> Run() {
    Body body;
    RETURN_IF_ERROR(ReadBody({}, &body));
    return body;
  }

 private:
  using Kind = Token::Kind;
  using StmtPtr = std::unique_ptr<Stmt>;

  StmtPtr New(Stmt::Kind kind) const {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = Current().line;
    return stmt;
  }

  // Statements up to a tag whose name is in `ends`; the tag's name is then current. Without `ends`:
  // up to the end of the template.
  absl::Status ReadBody(std::initializer_list<std::string_view> ends, Body* body) {
    if (++block_nesting_ > kMaxBlockNesting) return ErrorHere("blocks are nested too deeply");
    while (true) {
      const Token& token = Current();
      if (token.kind == Kind::kEnd) {
        if (ends.size() > 0) {
          return ErrorHere(
              absl::StrCat("the template ends where '",
                           absl::string_view(ends.begin()->data(), ends.begin()->size()),
                           "' is expected: a block is never closed"));
        }
        break;
      }
      if (token.kind == Kind::kData) {
        StmtPtr stmt = New(Stmt::Kind::kData);
        stmt->text = Text(token.text);
        body->push_back(std::move(stmt));
        Skip();
      } else if (token.kind == Kind::kVariableBegin) {
        RETURN_IF_ERROR(ReadOutput(body));
      } else {
        Skip();
        bool ended = false;
        for (std::string_view end : ends) ended |= Current().IsName(end);
        if (ended) break;
        RETURN_IF_ERROR(ReadTag(body));
      }
    }
    --block_nesting_;
    return absl::OkStatus();
  }

  absl::Status ReadOutput(Body* body) {
    Skip();
    StmtPtr stmt = New(Stmt::Kind::kOutput);
    ASSIGN_OR_RETURN(stmt->exprs.emplace_back(), Tuple());
    if (Current().kind != Kind::kVariableEnd) return Unexpected("'}}'");
    Skip();
    body->push_back(std::move(stmt));
    return absl::OkStatus();
  }

  absl::Status ExpectBlockEnd() {
    if (Current().kind != Kind::kBlockEnd) return Unexpected("'%}'");
    Skip();
    return absl::OkStatus();
  }

  // The body of a block, behind the opening tag's "%}", with its closing tag.
  absl::Status ReadBlock(std::string_view end, Body* body) {
    RETURN_IF_ERROR(ExpectBlockEnd());
    RETURN_IF_ERROR(ReadBody({end}, body));
    Skip();
    return ExpectBlockEnd();
  }

  absl::Status ReadTag(Body* body) {
    const Token name = Current();
    if (name.kind != Kind::kName) return Unexpected("the name of a tag");
    StmtPtr stmt = New(Stmt::Kind::kScope);
    Skip();
    absl::Status read;
    if (name.text == "if") {
      read = ReadIf(stmt.get());
    } else if (name.text == "for") {
      read = ReadFor(stmt.get());
    } else if (name.text == "set") {
      read = ReadSet(stmt.get());
    } else if (name.text == "macro") {
      read = ReadMacro(stmt.get());
    } else if (name.text == "call") {
      read = ReadCall(stmt.get());
    } else if (name.text == "filter") {
      read = ReadFilter(stmt.get());
    } else if (name.text == "with") {
      read = ReadWith(stmt.get());
    } else if (name.text == "generation") {
      read = ReadBlock("endgeneration", &stmt->bodies.emplace_back());
    } else if (name.text == "print") {
      stmt->kind = Stmt::Kind::kOutput;
      ASSIGN_OR_RETURN(stmt->exprs.emplace_back(), Tuple());
      read = ExpectBlockEnd();
    } else if (name.text == "break" || name.text == "continue") {
      if (loops_ == 0)
        return SyntaxError(name.line, name.column, "'" + name.text + "' outside of a loop");
      stmt->kind = name.text == "break" ? Stmt::Kind::kBreak : Stmt::Kind::kContinue;
      read = ExpectBlockEnd();
    } else {
      return SyntaxError(name.line, name.column, "the tag '" + name.text + "' is not known here");
    }
    RETURN_IF_ERROR(read);
    body->push_back(std::move(stmt));
    return absl::OkStatus();
  }

  absl::Status ReadIf(Stmt* stmt) {
    stmt->kind = Stmt::Kind::kIf;
    ++conditional_;
    while (true) {
      ASSIGN_OR_RETURN(stmt->exprs.emplace_back(), Tuple(false));
      RETURN_IF_ERROR(ExpectBlockEnd());
      RETURN_IF_ERROR(ReadBody({"endif", "elif", "else"}, &stmt->bodies.emplace_back()));
      if (!TakeName("elif")) break;
    }
    if (TakeName("else")) {
      RETURN_IF_ERROR(ExpectBlockEnd());
      RETURN_IF_ERROR(ReadBody({"endif"}, &stmt->bodies.emplace_back()));
    }
    --conditional_;
    Skip();
    return ExpectBlockEnd();
  }

  absl::Status ReadFor(Stmt* stmt) {
    stmt->kind = Stmt::Kind::kFor;
    RETURN_IF_ERROR(ReadTarget(false, &stmt->target));
    if (!TakeName("in")) return Unexpected("'in'");
    ASSIGN_OR_RETURN(stmt->exprs.emplace_back(), Tuple(false));
    stmt->exprs.emplace_back();
    if (TakeName("if")) {
      ASSIGN_OR_RETURN(stmt->exprs[1], Expression());
    }
    stmt->recursive = TakeName("recursive");
    RETURN_IF_ERROR(ExpectBlockEnd());
    ++loops_;
    RETURN_IF_ERROR(ReadBody({"endfor", "else"}, &stmt->bodies.emplace_back()));
    --loops_;
    if (TakeName("else")) {
      RETURN_IF_ERROR(ExpectBlockEnd());
      RETURN_IF_ERROR(ReadBody({"endfor"}, &stmt->bodies.emplace_back()));
    }
    Skip();
    return ExpectBlockEnd();
  }

  // One name, or several with commas, in parentheses or not.
  absl::Status ReadTarget(bool with_attributes, Target* target) {
    Target first;
    RETURN_IF_ERROR(ReadSingleTarget(with_attributes, &first));
    if (!Current().IsOperator(",")) {
      *target = std::move(first);
      return absl::OkStatus();
    }
    target->parts.push_back(std::move(first));
    while (TakeOperator(",")) {
      if (Current().IsName("in") || Current().IsOperator("=") || Current().IsOperator(")")) break;
      RETURN_IF_ERROR(ReadSingleTarget(with_attributes, &target->parts.emplace_back()));
    }
    return absl::OkStatus();
  }

  absl::Status ReadSingleTarget(bool with_attributes, Target* target) {
    if (TakeOperator("(")) {
      if (++block_nesting_ > kMaxBlockNesting) return ErrorHere("targets are nested too deeply");
      RETURN_IF_ERROR(ReadTarget(with_attributes, target));
      --block_nesting_;
      return ExpectOperator(")");
    }
    const Token name = Current();
    ASSIGN_OR_RETURN(target->name, ExpectName("the name of a variable"));
    for (const char* word : {"true", "false", "none", "True", "False", "None"}) {
      if (target->name == word) {
        return SyntaxError(name.line, name.column,
                           "nothing can be assigned to '" + name.text + "'");
      }
    }
    if (with_attributes && TakeOperator(".")) {
      ASSIGN_OR_RETURN(target->attribute, ExpectName("the name of an attribute"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadSet(Stmt* stmt) {
    RETURN_IF_ERROR(ReadTarget(true, &stmt->target));
    if (TakeOperator("=")) {
      stmt->kind = Stmt::Kind::kSet;
      ASSIGN_OR_RETURN(stmt->exprs.emplace_back(), Tuple());
      return ExpectBlockEnd();
    }
    stmt->kind = Stmt::Kind::kSetBlock;
    stmt->exprs.emplace_back();
    if (TakeOperator("|")) {
      ASSIGN_OR_RETURN(stmt->exprs[0], Filters(nullptr));
    }
    return ReadBlock("endset", &stmt->bodies.emplace_back());
  }

  absl::Status ReadParams(Stmt* stmt) {
    RETURN_IF_ERROR(ExpectOperator("("));
    while (!Current().IsOperator(")")) {
      if (!stmt->params.empty()) RETURN_IF_ERROR(ExpectOperator(","));
      if (Current().IsOperator(")")) break;
      ASSIGN_OR_RETURN(std::string name, ExpectName("the name of a parameter"));
      ExprPtr fallback;
      if (TakeOperator("=")) {
        ASSIGN_OR_RETURN(fallback, Expression());
      } else if (!stmt->params.empty() && stmt->params.back().second != nullptr) {
        return ErrorHere("a parameter without a default follows one with a default");
      }
      stmt->params.emplace_back(std::move(name), std::move(fallback));
    }
    Skip();
    return absl::OkStatus();
  }

  // The body of a macro or of a caller, in which no loop of the surroundings can be left.
  absl::Status ReadCallable(std::string_view end, Stmt* stmt) {
    macros_.emplace_back();
    const int loops = std::exchange(loops_, 0);
    RETURN_IF_ERROR(ReadBlock(end, &stmt->bodies.emplace_back()));
    loops_ = loops;
    stmt->takes_varargs = macros_.back().varargs;
    stmt->takes_kwargs = macros_.back().kwargs;
    stmt->takes_caller = macros_.back().caller;
    macros_.pop_back();
    return absl::OkStatus();
  }

  absl::Status ReadMacro(Stmt* stmt) {
    stmt->kind = Stmt::Kind::kMacro;
    ASSIGN_OR_RETURN(stmt->name, ExpectName("the name of the macro"));
    RETURN_IF_ERROR(ReadParams(stmt));
    return ReadCallable("endmacro", stmt);
  }

  absl::Status ReadCall(Stmt* stmt) {
    stmt->kind = Stmt::Kind::kCallBlock;
    stmt->name = "caller";
    if (Current().IsOperator("(")) RETURN_IF_ERROR(ReadParams(stmt));
    ASSIGN_OR_RETURN(stmt->exprs.emplace_back(), Expression());
    if (stmt->exprs[0]->kind != Expr::Kind::kCall) return Unexpected("a call");
    return ReadCallable("endcall", stmt);
  }

  absl::Status ReadFilter(Stmt* stmt) {
    stmt->kind = Stmt::Kind::kFilterBlock;
    ASSIGN_OR_RETURN(stmt->exprs.emplace_back(), Filters(nullptr));
    return ReadBlock("endfilter", &stmt->bodies.emplace_back());
  }

  absl::Status ReadWith(Stmt* stmt) {
    stmt->kind = Stmt::Kind::kWith;
    while (Current().kind != Kind::kBlockEnd) {
      if (!stmt->targets.empty()) RETURN_IF_ERROR(ExpectOperator(","));
      RETURN_IF_ERROR(ReadSingleTarget(false, &stmt->targets.emplace_back()));
      RETURN_IF_ERROR(ExpectOperator("="));
      ASSIGN_OR_RETURN(stmt->exprs.emplace_back(), Expression());
    }
    return ReadBlock("endwith", &stmt->bodies.emplace_back());
  }

  int loops_ = 0;
  int block_nesting_ = 0;
};

}  // namespace

absl::StatusOr<Body> Parse(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace tessera::server::jinja
