#include "server/text/jinja_value.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Value::Kind;

absl::Status TooDeep() {
  return absl::ResourceExhaustedError(
      absl::StrCat("a value is nested more than ", kMaxValueDepth, " levels deep"));
}

// Roles that templates build control tokens from ('<|' + role + '|>'). They are names that the
// interface knows, not text that a user writes.
bool IsKnownRole(std::string_view role) {
  static constexpr std::string_view kRoles[] = {
      "system", "developer", "user",     "assistant", "tool",        "function",
      "model",  "ipython",   "document", "documents", "observation", "environment"};
  return std::find(std::begin(kRoles), std::end(kRoles), role) != std::end(kRoles);
}

bool SameItems(const std::vector<Value>& a, const std::vector<Value>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), Equal);
}

bool SameDict(const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::all_of(a.entries.begin(), a.entries.end(), [&](const auto& entry) {
    const Value* other = b.Find(entry.first);
    return other != nullptr && Equal(entry.second, *other);
  });
}

int Order(double a, double b) { return a < b ? -1 : a > b ? 1 : 0; }

}  // namespace

const Value* Arguments::Find(size_t index, std::string_view name) const {
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return index < positional.size() ? &positional[index] : nullptr;
}

Value Value::Undefined(std::string what) {
  Value value;
  value.object_ = std::make_shared<std::string>(std::move(what));
  return value;
}
Value Value::Bool(bool flag) {
  Value value(Kind::kBool);
  value.integer_ = flag;
  return value;
}
Value Value::Int(int64_t number) {
  Value value(Kind::kInt);
  value.integer_ = number;
  return value;
}
Value Value::Float(double number) {
  Value value(Kind::kFloat);
  value.float_ = number;
  return value;
}
Value Value::String(Text text) {
  Value value(Kind::kString);
  value.object_ = std::make_shared<Text>(std::move(text));
  return value;
}
absl::StatusOr<Value> Value::Sequence(Kind kind, std::vector<Value> items) {
  Value value(kind);
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  if (depth >= kMaxValueDepth) return TooDeep();
  value.depth_ = static_cast<uint8_t>(depth + 1);
  auto list = std::make_shared<List>();
  list->items = std::move(items);
  value.object_ = std::move(list);
  return value;
}
absl::StatusOr<Value> Value::FromDict(Dict dict) {
  Value value(Kind::kDict);
  int depth = 0;
  for (const auto& [key, item] : dict.entries) depth = std::max({depth, key.depth(), item.depth()});
  if (depth >= kMaxValueDepth) return TooDeep();
  value.depth_ = static_cast<uint8_t>(depth + 1);
  value.object_ = std::make_shared<Dict>(std::move(dict));
  return value;
}
Value Value::FromNamespace(std::shared_ptr<Namespace> space) {
  Value value(Kind::kNamespace);
  value.object_ = std::move(space);
  return value;
}
Value Value::FromCallable(std::string name, Function function) {
  Value value(Kind::kCallable);
  value.object_ = std::make_shared<Callable>(Callable{std::move(name), std::move(function)});
  return value;
}

const std::vector<Value>& Value::items() const { return static_cast<List*>(object_.get())->items; }
const Dict& Value::dict() const { return *static_cast<Dict*>(object_.get()); }
Namespace& Value::space() const { return *static_cast<Namespace*>(object_.get()); }
const Callable& Value::callable() const { return *static_cast<Callable*>(object_.get()); }

std::string Value::undefined_name() const {
  return object_ == nullptr ? "a value" : *static_cast<std::string*>(object_.get());
}

std::vector<Value> Value::TakeItems() const {
  if (kind_ != Kind::kGenerator) return items();
  return std::exchange(static_cast<List*>(object_.get())->items, {});
}

bool Value::Truth() const {
  switch (kind_) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return integer_ != 0;
    case Kind::kFloat:
      return float_ != 0;
    case Kind::kString:
      return !text().empty();
    case Kind::kList:
    case Kind::kTuple:
      return !items().empty();
    case Kind::kDict:
      return !dict().entries.empty();
    case Kind::kGenerator:
    case Kind::kNamespace:
    case Kind::kCallable:
      return true;
  }
  return false;
}

int64_t Dict::IndexOf(const Value& key) const {
  if (key.is_string()) {
    const auto it = by_text_.find(key.str());
    return it == by_text_.end() ? -1 : static_cast<int64_t>(it->second);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].first.is_string() && Equal(entries[i].first, key))
      return static_cast<int64_t>(i);
  }
  return -1;
}

const Value* Dict::Find(const Value& key) const {
  const int64_t index = IndexOf(key);
  return index < 0 ? nullptr : &entries[static_cast<size_t>(index)].second;
}

const Value* Dict::Find(std::string_view key) const {
  const auto it = by_text_.find(absl::string_view(key.data(), key.size()));
  return it == by_text_.end() ? nullptr : &entries[it->second].second;
}

void Dict::Set(Value key, Value value) {
  const int64_t index = IndexOf(key);
  if (index >= 0) {
    entries[static_cast<size_t>(index)].second = std::move(value);
    return;
  }
  if (key.is_string()) by_text_[key.str()] = entries.size();
  entries.emplace_back(std::move(key), std::move(value));
}

const char* TypeName(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kGenerator:
      return "generator";
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "namespace";
    case Kind::kCallable:
      return "function";
  }
  return "";
}

bool Equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
    return a.number() == b.number();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      return a.str() == b.str();
    case Kind::kList:
    case Kind::kTuple:
      return SameItems(a.items(), b.items());
    case Kind::kDict:
      return SameDict(a.dict(), b.dict());
    default:
      return a.Same(b);
  }
}

absl::StatusOr<int> Compare(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) {
      return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
    }
    return Order(a.number(), b.number());
  }
  // UTF-8 keeps the order of code points.
  if (a.is_string() && b.is_string()) return a.str().compare(b.str());
  if (a.kind() == b.kind() && (a.is(Kind::kList) || a.is(Kind::kTuple))) {
    const size_t common = std::min(a.items().size(), b.items().size());
    for (size_t i = 0; i < common; ++i) {
      if (!Equal(a.items()[i], b.items()[i])) return Compare(a.items()[i], b.items()[i]);
    }
    return Order(static_cast<double>(a.items().size()), static_cast<double>(b.items().size()));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", TypeName(a), "' and '", TypeName(b), "' have no order"));
}

namespace {

absl::StatusOr<Value> Convert(const nlohmann::ordered_json& json, bool is_role, int depth) {
  if (depth > kMaxValueDepth) return TooDeep();
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value::Bool(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value::Int(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) return Value::Float(json.get<double>());
      return Value::Int(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value::Float(json.get<double>());
    case nlohmann::ordered_json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      return Value::String(Text(text, !(is_role && IsKnownRole(text))));
    }
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) {
        ASSIGN_OR_RETURN(items.emplace_back(), Convert(item, false, depth + 1));
      }
      return Value::Sequence(Kind::kList, std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) {
        ASSIGN_OR_RETURN(Value value, Convert(item, key == "role", depth + 1));
        dict.Set(Value::String(Text(key, true)), std::move(value));
      }
      return Value::FromDict(std::move(dict));
    }
    default:
      return Value::None();
  }
}

}  // namespace

absl::StatusOr<Value> FromJson(const nlohmann::ordered_json& json) {
  return Convert(json, false, 0);
}

}  // namespace tessera::server::jinja
