// The tests ("is defined") and the global functions.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"
#include "server/text/jinja_loop.h"
#include "server/text/unicode.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Value::Kind;
using TestTable = absl::flat_hash_map<std::string, Test>;

template <Kind kind>
absl::StatusOr<bool> IsKind(Interpreter&, const Value& value, const Arguments&) {
  return value.is(kind);
}

absl::StatusOr<bool> IsDefined(Interpreter&, const Value& value, const Arguments&) {
  return !value.is_undefined();
}

template <bool wanted>
absl::StatusOr<bool> IsFlag(Interpreter&, const Value& value, const Arguments&) {
  return value.is(Kind::kBool) && (value.integer() != 0) == wanted;
}

absl::StatusOr<bool> IsNumber(Interpreter&, const Value& value, const Arguments&) {
  return value.is_number();
}

absl::StatusOr<bool> IsSequence(Interpreter&, const Value& value, const Arguments&) {
  return value.is(Kind::kList) || value.is(Kind::kTuple) || value.is(Kind::kDict) ||
         value.is_string() || value.is_undefined();
}

absl::StatusOr<bool> IsIterable(Interpreter& interpreter, const Value& value,
                                const Arguments& arguments) {
  if (value.is(Kind::kGenerator)) return true;
  return IsSequence(interpreter, value, arguments);
}

absl::StatusOr<bool> IsCallable(Interpreter&, const Value& value, const Arguments&) {
  return value.is(Kind::kCallable) ||
         (value.is(Kind::kNamespace) && value.space().attributes.Find(kCallAttribute) != nullptr);
}

template <int remainder>
absl::StatusOr<bool> HasRemainder(Interpreter& interpreter, const Value& value, const Arguments&) {
  ASSIGN_OR_RETURN(const Value rest, BinaryOperation(interpreter, "%", value, Value::Int(2)));
  return Equal(rest, Value::Int(remainder));
}

absl::StatusOr<bool> IsDivisible(Interpreter& interpreter, const Value& value,
                                 const Arguments& arguments) {
  ASSIGN_OR_RETURN(const int64_t by, IntArgument(arguments, 0, "num", std::nullopt));
  ASSIGN_OR_RETURN(const Value rest, BinaryOperation(interpreter, "%", value, Value::Int(by)));
  return Equal(rest, Value::Int(0));
}

template <Category wanted, Category other>
absl::StatusOr<bool> IsCase(Interpreter&, const Value& value, const Arguments&) {
  const Text text = ToText(value);
  bool found = false;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = NextChar(text.view(), &pos);
    if (In(Bit(other) | Bit(Category::kLt), c)) return false;
    found |= In(Bit(wanted), c);
  }
  return found;
}

absl::StatusOr<bool> IsSame(Interpreter&, const Value& value, const Arguments& arguments) {
  const Value* other = arguments.Find(0, "other");
  if (other == nullptr) return TemplateError("sameas takes a value");
  const bool plain = value.is(Kind::kBool) || value.is(Kind::kNone) || value.is(Kind::kInt);
  return value.kind() == other->kind() && (plain ? Equal(value, *other) : value.Same(*other));
}

absl::StatusOr<bool> NamesFilter(Interpreter&, const Value& value, const Arguments&) {
  return value.is_string() && HasFilter(value.str());
}
absl::StatusOr<bool> NamesTest(Interpreter&, const Value& value, const Arguments&) {
  return value.is_string() && HasTest(value.str());
}
absl::StatusOr<bool> IsEscaped(Interpreter&, const Value&, const Arguments&) { return false; }

struct EqualOp {
  static constexpr char kText[] = "==";
};
struct UnequalOp {
  static constexpr char kText[] = "!=";
};
struct LessOp {
  static constexpr char kText[] = "<";
};
struct AtMostOp {
  static constexpr char kText[] = "<=";
};
struct GreaterOp {
  static constexpr char kText[] = ">";
};
struct AtLeastOp {
  static constexpr char kText[] = ">=";
};
struct InOp {
  static constexpr char kText[] = "in";
};

template <typename Op>
absl::StatusOr<bool> Compares(Interpreter&, const Value& value, const Arguments& arguments) {
  if (arguments.positional.size() != 1) return TemplateError("this test takes one argument");
  return CompareOperation(Op::kText, value, arguments.positional[0]);
}

const TestTable& Tests() {
  static const TestTable* const table =
      new TestTable{{"defined", IsDefined},
                    {"undefined", IsKind<Kind::kUndefined>},
                    {"none", IsKind<Kind::kNone>},
                    {"boolean", IsKind<Kind::kBool>},
                    {"integer", IsKind<Kind::kInt>},
                    {"float", IsKind<Kind::kFloat>},
                    {"string", IsKind<Kind::kString>},
                    {"mapping", IsKind<Kind::kDict>},
                    {"true", IsFlag<true>},
                    {"false", IsFlag<false>},
                    {"number", IsNumber},
                    {"sequence", IsSequence},
                    {"iterable", IsIterable},
                    {"callable", IsCallable},
                    {"odd", HasRemainder<1>},
                    {"even", HasRemainder<0>},
                    {"divisibleby", IsDivisible},
                    {"lower", IsCase<Category::kLl, Category::kLu>},
                    {"upper", IsCase<Category::kLu, Category::kLl>},
                    {"sameas", IsSame},
                    {"filter", NamesFilter},
                    {"test", NamesTest},
                    {"escaped", IsEscaped},
                    {"in", Compares<InOp>},
                    {"==", Compares<EqualOp>},
                    {"eq", Compares<EqualOp>},
                    {"equalto", Compares<EqualOp>},
                    {"!=", Compares<UnequalOp>},
                    {"ne", Compares<UnequalOp>},
                    {"<", Compares<LessOp>},
                    {"lt", Compares<LessOp>},
                    {"lessthan", Compares<LessOp>},
                    {"<=", Compares<AtMostOp>},
                    {"le", Compares<AtMostOp>},
                    {">", Compares<GreaterOp>},
                    {"gt", Compares<GreaterOp>},
                    {"greaterthan", Compares<GreaterOp>},
                    {">=", Compares<AtLeastOp>},
                    {"ge", Compares<AtLeastOp>}};
  return *table;
}

absl::StatusOr<Value> RangeFunction(Interpreter& interpreter, const Arguments& arguments) {
  constexpr int64_t kMost = 100'000;  // as transformers' sandbox has it
  const size_t count = arguments.positional.size();
  if (count < 1 || count > 3) return TemplateError("range takes one to three numbers");
  int64_t numbers[3] = {0, 0, 1};
  for (size_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(numbers[count == 1 ? 1 : i],
                     IntArgument(arguments, i, "number", std::nullopt));
  }
  const auto [start, stop, step] = std::tuple(numbers[0], numbers[1], numbers[2]);
  if (step == 0) return TemplateError("the step of a range must not be 0");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() >= kMost)
      return TemplateError(absl::StrCat("a range has at most ", kMost, " numbers"));
    items.push_back(Value::Int(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  RETURN_IF_ERROR(interpreter.Reserve(items.size() * sizeof(Value)));
  return Value::Sequence(Kind::kList, std::move(items));
}

absl::StatusOr<Dict> DictOf(Interpreter& interpreter, const Arguments& arguments) {
  Dict dict;
  for (const Value& source : arguments.positional) {
    if (source.is(Kind::kDict)) {
      for (const auto& [key, value] : source.dict().entries) dict.Set(key, value);
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<Value> pairs, Iterate(interpreter, source));
    for (const Value& pair : pairs) {
      ASSIGN_OR_RETURN(const std::vector<Value> parts, Iterate(interpreter, pair));
      if (parts.size() != 2) return TemplateError("a dict is made of pairs");
      dict.Set(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) dict.Set(Value::String(name), value);
  return dict;
}

absl::StatusOr<Value> DictFunction(Interpreter& interpreter, const Arguments& arguments) {
  ASSIGN_OR_RETURN(Dict dict, DictOf(interpreter, arguments));
  return Value::FromDict(std::move(dict));
}

absl::StatusOr<Value> NamespaceFunction(Interpreter& interpreter, const Arguments& arguments) {
  ASSIGN_OR_RETURN(Dict dict, DictOf(interpreter, arguments));
  return interpreter.NewNamespace(std::move(dict));
}

// cycler('a', 'b'): next(), current, reset().
absl::StatusOr<Value> CyclerFunction(Interpreter& interpreter, const Arguments& arguments) {
  if (arguments.positional.empty()) return TemplateError("cycler needs something to choose from");
  const auto items = std::make_shared<std::vector<Value>>(arguments.positional);
  Dict attributes;
  attributes.Set(Value::String("current"), items->front());
  const Value cycler = interpreter.NewNamespace(std::move(attributes));
  Namespace* const space = &cycler.space();  // lives until the render ends, as do the functions
  const auto at = std::make_shared<size_t>(0);
  const auto move = [space, items](size_t* position, size_t to) {
    *position = to % items->size();
    space->attributes.Set(Value::String("current"), (*items)[*position]);
  };
  space->attributes.Set(
      Value::String("next"),
      Value::FromCallable("next", [at, move, items](Interpreter&, const Arguments&) {
        const Value now = (*items)[*at];
        move(at.get(), *at + 1);
        return absl::StatusOr<Value>(now);
      }));
  space->attributes.Set(Value::String("reset"),
                        Value::FromCallable("reset", [at, move](Interpreter&, const Arguments&) {
                          move(at.get(), 0);
                          return absl::StatusOr<Value>(Value::None());
                        }));
  return cycler;
}

absl::StatusOr<Value> JoinerFunction(Interpreter&, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text separator, TextArgument(arguments, 0, "sep", ", "));
  const auto used = std::make_shared<bool>(false);
  return Value::FromCallable("joiner", [separator, used](Interpreter&, const Arguments&) {
    return absl::StatusOr<Value>(Value::String(std::exchange(*used, true) ? separator : Text()));
  });
}

absl::StatusOr<Value> RaiseException(Interpreter& interpreter, const Arguments& arguments) {
  const Value* message = arguments.Find(0, "message");
  return interpreter.Raise(message == nullptr ? "" : ToText(*message).str());
}

absl::StatusOr<Value> StrftimeNow(Interpreter& interpreter, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text given, TextArgument(arguments, 0, "format", std::nullopt));
  if (given.size() > 1000)
    return TemplateError("strftime_now takes a format of 1000 bytes at most");
  // A clock without zone and fractions: what Python writes for those.
  std::string format;
  for (size_t i = 0; i < given.size(); ++i) {
    const char next = i + 1 < given.size() ? given.str()[i + 1] : '\0';
    if (given.str()[i] == '\0') continue;
    if (given.str()[i] == '%' && next == '%') {
      format += "%%";
      ++i;
    } else if (given.str()[i] == '%' && next == 'f') {
      format += "000000";
      ++i;
    } else if (given.str()[i] == '%' && (next == 'z' || next == 'Z')) {
      ++i;
    } else {
      format += given.str()[i];
    }
  }
  std::string out(32 * 1024, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &interpreter.now()));
  if (FindInvalidUtf8(out) != std::string::npos)
    return TemplateError("this time format gives no text");
  return Value::String(std::move(out));
}

}  // namespace

bool HasTest(std::string_view name) {
  return Tests().contains(absl::string_view(name.data(), name.size()));
}

absl::StatusOr<bool> ApplyTest(Interpreter& interpreter, std::string_view name, const Value& input,
                               const Arguments& arguments) {
  const auto it = Tests().find(absl::string_view(name.data(), name.size()));
  if (it == Tests().end()) return TemplateError("there is no test '" + std::string(name) + "'");
  return it->second(interpreter, input, arguments);
}

const absl::flat_hash_map<std::string, Value>& Globals() {
  static const auto* const globals = new absl::flat_hash_map<std::string, Value>{
      {"range", Value::FromCallable("range", RangeFunction)},
      {"dict", Value::FromCallable("dict", DictFunction)},
      {"namespace", Value::FromCallable("namespace", NamespaceFunction)},
      {"cycler", Value::FromCallable("cycler", CyclerFunction)},
      {"joiner", Value::FromCallable("joiner", JoinerFunction)},
      {"raise_exception", Value::FromCallable("raise_exception", RaiseException)},
      {"strftime_now", Value::FromCallable("strftime_now", StrftimeNow)}};
  return *globals;
}

}  // namespace tessera::server::jinja
