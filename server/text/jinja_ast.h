// The syntax tree of a template. Immutable after parsing; thread-safe.
#ifndef TESSERA_SERVER_TEXT_JINJA_AST_H_
#define TESSERA_SERVER_TEXT_JINJA_AST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/text/jinja_value.h"

namespace tessera::server::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

// The arguments of a call, filter or test.
struct CallArgs {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;       // *rest, or nullptr
  ExprPtr star_star;  // **rest, or nullptr
};

struct Expr {
  enum class Kind : uint8_t {
    kConstant,
    kName,
    kList,
    kTuple,
    kDict,  // children: key, value, key, value, ...
    kNegative,
    kPositive,
    kNot,
    kAnd,
    kOr,         // two children
    kBinary,     // two children; name: the operator
    kConcat,     // children joined by ~
    kCompare,    // children, with names[i] between child i and i + 1
    kCondition,  // children: test, then, else (or no third)
    kAttribute,  // child.name
    kItem,       // children: object, key
    kSlice,      // children: object, start, stop, step; each of the last three may be nullptr
    kCall,       // child(args)
    kFilter,     // child | name(args); in a filter block the first child is nullptr
    kTest        // child is name(args); negated: is not
  };
  Kind kind;
  int line = 0;
  int depth = 1;  // of the tree below, with itself
  Value constant;
  std::string name;
  std::vector<std::string> names;
  std::vector<ExprPtr> children;
  CallArgs args;
  bool negated = false;
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

// Where an assignment goes: a name, a namespace's attribute, or several.
struct Target {
  std::string name;
  std::string attribute;      // of the namespace `name`; empty: the name itself
  std::vector<Target> parts;  // not empty: unpacking
};

struct Stmt {
  enum class Kind : uint8_t {
    kData,         // text
    kOutput,       // exprs[0]
    kIf,           // exprs[i] guards bodies[i]; one body more: else
    kFor,          // target in exprs[0] if exprs[1] (or nullptr); bodies: loop, else
    kSet,          // target = exprs[0]
    kSetBlock,     // target = bodies[0], through the filter exprs[0] (or nullptr)
    kMacro,        // name(params) bodies[0]
    kCallBlock,    // exprs[0] is the call; params and bodies[0] are those of caller()
    kFilterBlock,  // exprs[0] is the filter, over bodies[0]
    kWith,         // targets[i] = exprs[i] in bodies[0]
    kScope,        // bodies[0] in a scope of its own
    kBreak,
    kContinue
  };
  Kind kind;
  int line = 0;
  Text text;
  std::string name;
  std::vector<ExprPtr> exprs;
  std::vector<Body> bodies;
  Target target;
  std::vector<Target> targets;
  bool recursive = false;
  // Of macros: names with their defaults (or nullptr).
  std::vector<std::pair<std::string, ExprPtr>> params;
  bool takes_varargs = false, takes_kwargs = false, takes_caller = false;
};

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_AST_H_
