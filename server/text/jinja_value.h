// The values of a template: Python's, as far as chat templates see them.
#ifndef TESSERA_SERVER_TEXT_JINJA_VALUE_H_
#define TESSERA_SERVER_TEXT_JINJA_VALUE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/text/jinja_string.h"

namespace tessera::server::jinja {

class Interpreter;
class Value;

// Lists in lists; more is refused, so that no walk over a value runs out of stack.
inline constexpr int kMaxValueDepth = 128;

// The arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The named argument, or the positional one at `index`, or nullptr.
  const Value* Find(size_t index, std::string_view name) const;
};

using Function = std::function<absl::StatusOr<Value>(Interpreter&, const Arguments&)>;

struct List;
struct Dict;
struct Namespace;
struct Callable;

// Immutable, except that a namespace is shared and changes, and a generator is used up. Not
// thread-safe: a value belongs to one render.
class Value {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kList,
    kTuple,
    kGenerator,
    kDict,
    kNamespace,
    kCallable
  };

  Value() = default;  // undefined, without a name
  static Value Undefined(std::string what);
  static Value None() { return Value(Kind::kNone); }
  static Value Bool(bool value);
  static Value Int(int64_t value);
  static Value Float(double value);
  static Value String(Text text);
  static Value String(std::string text) { return String(Text(std::move(text))); }
  // Kind is kList, kTuple or kGenerator.
  static absl::StatusOr<Value> Sequence(Kind kind, std::vector<Value> items);
  static absl::StatusOr<Value> FromDict(Dict dict);
  static Value FromNamespace(std::shared_ptr<Namespace> space);
  static Value FromCallable(std::string name, Function function);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_number() const {
    return kind_ == Kind::kBool || kind_ == Kind::kInt || kind_ == Kind::kFloat;
  }
  bool is_integral() const { return kind_ == Kind::kBool || kind_ == Kind::kInt; }
  bool is_sequence() const {
    return kind_ == Kind::kList || kind_ == Kind::kTuple || kind_ == Kind::kGenerator;
  }

  int64_t integer() const { return integer_; }  // of kBool and kInt
  double number() const { return kind_ == Kind::kFloat ? float_ : static_cast<double>(integer_); }
  const Text& text() const { return *static_cast<const Text*>(object_.get()); }
  const std::string& str() const { return text().str(); }
  const std::vector<Value>& items() const;
  const Dict& dict() const;
  Namespace& space() const;
  const Callable& callable() const;
  // What an undefined value was meant to be, for messages.
  std::string undefined_name() const;
  // Lists and dicts: how deep they are nested.
  int depth() const { return depth_; }

  // A generator's items, which it does not have any more afterwards.
  std::vector<Value> TakeItems() const;
  bool Same(const Value& other) const { return object_ == other.object_ && kind_ == other.kind_; }

  bool Truth() const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}
  Kind kind_ = Kind::kUndefined;
  uint8_t depth_ = 0;
  union {
    int64_t integer_ = 0;
    double float_;
  };
  // Shared by the copies of a value: Text, List, Dict, Namespace or Callable; of an undefined value
  // the std::string that names it.
  std::shared_ptr<void> object_;
};

struct List {
  std::vector<Value> items;
};

// Keeps the order of insertion, like Python's.
struct Dict {
  std::vector<std::pair<Value, Value>> entries;

  // nullptr where the key is not there.
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view key) const;
  // Adds an entry, or changes the value of the one that is there.
  void Set(Value key, Value value);

 private:
  int64_t IndexOf(const Value& key) const;
  absl::flat_hash_map<std::string, size_t> by_text_;  // keys that are strings
};

struct Namespace {
  Dict attributes;
};

struct Callable {
  std::string name;
  Function function;
};

// Python's names of types, for messages: "str", "int", "dict".
const char* TypeName(const Value& value);

// ==. Numbers of different kinds compare by value.
bool Equal(const Value& a, const Value& b);
// <: -1, 0, 1. INVALID_ARGUMENT where the types have no order.
absl::StatusOr<int> Compare(const Value& a, const Value& b);

// Everything below it counts as user text, but for the roles of messages.
absl::StatusOr<Value> FromJson(const nlohmann::ordered_json& json);

// str() and repr(). Marks of user text are kept.
Text ToText(const Value& value);
Text Repr(const Value& value);
std::string FormatFloat(double value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  int indent = -1;  // below 0: on one line
  std::string item_separator, key_separator;
};
// json.dumps(). INVALID_ARGUMENT for values that JSON does not have.
absl::StatusOr<Text> ToJson(const Value& value, const JsonStyle& style);

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_VALUE_H_
