// The operators of expressions, with Python's meaning.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"
#include "server/text/jinja_text_functions.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Value::Kind;

absl::Status BadOperands(const std::string& op, const Value& left, const Value& right) {
  for (const Value* value : {&left, &right}) {
    if (value->is_undefined()) return TemplateError(value->undefined_name() + " is undefined");
  }
  return TemplateError(absl::StrCat("'", op, "' does not work on '", TypeName(left), "' and '",
                                    TypeName(right), "'"));
}

absl::Status TooLarge() { return TemplateError("a whole number is too large (64 bits at most)"); }
absl::Status DivisionByZero() { return TemplateError("division by zero"); }

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

absl::StatusOr<Value> IntPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return DivisionByZero();
    return Value::Float(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  // A base above 1 in size overflows within 63 steps; the others come back on themselves.
  if (base == 0 || base == 1) return Value::Int(exponent == 0 ? 1 : base);
  if (base == -1) return Value::Int(exponent % 2 == 0 ? 1 : -1);
  for (int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) return TooLarge();
  }
  return Value::Int(result);
}

absl::StatusOr<Value> IntOperation(const std::string& op, int64_t a, int64_t b) {
  int64_t result = 0;
  if (op == "+") {
    if (__builtin_add_overflow(a, b, &result)) return TooLarge();
  } else if (op == "-") {
    if (__builtin_sub_overflow(a, b, &result)) return TooLarge();
  } else if (op == "*") {
    if (__builtin_mul_overflow(a, b, &result)) return TooLarge();
  } else if (op == "**") {
    return IntPower(a, b);
  } else if (b == 0) {
    return DivisionByZero();
  } else if (op == "/") {
    return Value::Float(static_cast<double>(a) / static_cast<double>(b));
  } else if (b == -1) {
    if (op == "//" && a == INT64_MIN) return TooLarge();
    result = op == "//" ? -a : 0;
  } else {
    result = FloorDivide(a, b);
    if (op == "%") result = a - result * b;
  }
  return Value::Int(result);
}

absl::StatusOr<Value> FloatOperation(const std::string& op, double a, double b) {
  if (op == "+") return Value::Float(a + b);
  if (op == "-") return Value::Float(a - b);
  if (op == "*") return Value::Float(a * b);
  if (op == "**") {
    const double result = std::pow(a, b);
    if (!std::isfinite(result) && std::isfinite(a) && std::isfinite(b)) {
      return TemplateError("the result of '**' is too large");
    }
    return Value::Float(result);
  }
  if (b == 0) return DivisionByZero();
  if (op == "/") return Value::Float(a / b);
  if (op == "//") return Value::Float(std::floor(a / b));
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  return Value::Float(rest);
}

absl::StatusOr<Value> Repeat(Interpreter& interpreter, const Value& value, int64_t count) {
  const auto times = static_cast<size_t>(std::max<int64_t>(count, 0));
  const size_t size =
      value.is_string() ? value.text().size() : value.items().size() * sizeof(Value);
  if (size > 0) {
    // Asked piece by piece, so that the product cannot overflow.
    RETURN_IF_ERROR(
        interpreter.Reserve(times > (size_t{1} << 40) / size ? size_t{1} << 40 : size * times));
  }
  if (value.is_string()) {
    Text text;
    for (size_t i = 0; i < times && size > 0; ++i) text.Append(value.text());
    return Value::String(std::move(text));
  }
  std::vector<Value> items;
  for (size_t i = 0; i < times && size > 0; ++i) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return Value::Sequence(value.kind(), std::move(items));
}

bool IsList(const Value& value) { return value.is(Kind::kList) || value.is(Kind::kTuple); }

absl::StatusOr<Value> Add(Interpreter& interpreter, const Value& left, const Value& right) {
  if (left.is_string() && right.is_string()) {
    RETURN_IF_ERROR(interpreter.Reserve(left.text().size() + right.text().size()));
    const bool markup = left.text().markup() || right.text().markup();
    const auto part = [markup](const Value& value) {
      return markup && !value.text().markup() ? EscapeHtml(value.text()) : value.text();
    };
    Text text = part(left);
    text.Append(part(right));
    return Value::String(std::move(text.SetMarkup(markup)));
  }
  if (IsList(left) && left.kind() == right.kind()) {
    RETURN_IF_ERROR(
        interpreter.Reserve((left.items().size() + right.items().size()) * sizeof(Value)));
    std::vector<Value> items = left.items();
    items.insert(items.end(), right.items().begin(), right.items().end());
    return Value::Sequence(left.kind(), std::move(items));
  }
  return BadOperands("+", left, right);
}

absl::StatusOr<bool> Contains(const Value& container, const Value& value) {
  switch (container.kind()) {
    case Kind::kString:
      if (!value.is_string()) return BadOperands("in", value, container);
      return container.str().find(value.str()) != std::string::npos;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kGenerator: {
      const std::vector<Value> items = container.TakeItems();
      return std::any_of(items.begin(), items.end(),
                         [&](const Value& item) { return Equal(item, value); });
    }
    case Kind::kDict:
      return container.dict().Find(value) != nullptr;
    case Kind::kUndefined:
      return false;
    default:
      return BadOperands("in", value, container);
  }
}

// Python's rules for the bounds of a slice over `size` items.
absl::Status SliceBounds(const Value (&bounds)[3], int64_t size, int64_t* start, int64_t* stop,
                         int64_t* step) {
  for (const Value& bound : bounds) {
    if (!bound.is(Kind::kNone) && !bound.is_integral()) {
      return TemplateError("the bounds of a slice must be whole numbers");
    }
  }
  *step = bounds[2].is(Kind::kNone) ? 1 : bounds[2].integer();
  if (*step == 0) return TemplateError("the step of a slice must not be 0");
  // A step beyond all items is as good as any other, and cannot overflow.
  *step = std::clamp<int64_t>(*step, -size - 1, size + 1);
  const auto clamp = [&](const Value& bound, int64_t fallback) {
    if (bound.is(Kind::kNone)) return fallback;
    int64_t at = bound.integer();
    if (at < 0) at = at < -size ? -1 : at + size;
    return *step > 0 ? std::clamp<int64_t>(at, 0, size) : std::clamp<int64_t>(at, -1, size - 1);
  };
  *start = clamp(bounds[0], *step > 0 ? 0 : size - 1);
  *stop = clamp(bounds[1], *step > 0 ? size : -1);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Value> BinaryOperation(Interpreter& interpreter, const std::string& op,
                                      const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    if (left.is_integral() && right.is_integral()) {
      return IntOperation(op, left.integer(), right.integer());
    }
    return FloatOperation(op, left.number(), right.number());
  }
  if (op == "+") return Add(interpreter, left, right);
  if (op == "*") {
    if ((left.is_string() || IsList(left)) && right.is_integral()) {
      return Repeat(interpreter, left, right.integer());
    }
    if ((right.is_string() || IsList(right)) && left.is_integral()) {
      return Repeat(interpreter, right, left.integer());
    }
  }
  if (op == "%" && left.is_string()) {
    Arguments arguments;
    if (right.is(Kind::kTuple)) {
      arguments.positional = right.items();
    } else {
      arguments.positional.push_back(right);
    }
    return FormatPercent(interpreter, left.text(), arguments);
  }
  return BadOperands(op, left, right);
}

absl::StatusOr<bool> CompareOperation(const std::string& op, const Value& left,
                                      const Value& right) {
  if (op == "==") return Equal(left, right);
  if (op == "!=") return !Equal(left, right);
  if (op == "in") return Contains(right, left);
  if (op == "not in") {
    ASSIGN_OR_RETURN(const bool in, Contains(right, left));
    return !in;
  }
  if (left.is_undefined() || right.is_undefined()) return BadOperands(op, left, right);
  const bool unordered = (left.is(Kind::kFloat) && std::isnan(left.number())) ||
                         (right.is(Kind::kFloat) && std::isnan(right.number()));
  ASSIGN_OR_RETURN(const int order, Compare(left, right));
  if (unordered) return false;
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  if (op == ">") return order > 0;
  return order >= 0;
}

absl::StatusOr<Value> SliceValue(Interpreter& interpreter, const Value& object,
                                 const Value (&bounds)[3]) {
  if (object.is_undefined()) return TemplateError(object.undefined_name() + " is undefined");
  int64_t start = 0, stop = 0, step = 1;
  if (object.is_string()) {
    // The byte positions of the characters.
    std::vector<size_t> positions;
    const std::string& bytes = object.str();
    RETURN_IF_ERROR(interpreter.Spend(bytes.size() / 16));
    for (size_t pos = 0; pos < bytes.size();
         pos += Utf8Length(static_cast<unsigned char>(bytes[pos]))) {
      positions.push_back(pos);
    }
    const auto size = static_cast<int64_t>(positions.size());
    positions.push_back(bytes.size());
    RETURN_IF_ERROR(SliceBounds(bounds, size, &start, &stop, &step));
    RETURN_IF_ERROR(interpreter.Reserve(bytes.size()));
    if (step == 1) {
      const auto from = static_cast<size_t>(start);
      const auto to = static_cast<size_t>(std::max(start, stop));
      return Value::String(object.text().Slice(positions[from], positions[to]));
    }
    Text text;
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
      text.Append(object.text(), positions[static_cast<size_t>(i)],
                  positions[static_cast<size_t>(i) + 1]);
    }
    return Value::String(std::move(text));
  }
  if (!IsList(object)) return Value::Undefined("a slice of a value that has no items");
  const std::vector<Value>& all = object.items();
  RETURN_IF_ERROR(SliceBounds(bounds, static_cast<int64_t>(all.size()), &start, &stop, &step));
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
    items.push_back(all[static_cast<size_t>(i)]);
  }
  RETURN_IF_ERROR(interpreter.Reserve(items.size() * sizeof(Value)));
  return Value::Sequence(object.kind(), std::move(items));
}

}  // namespace tessera::server::jinja
