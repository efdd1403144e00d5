// Looking things up in values, and walking over them.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Value::Kind;

absl::Status IsUndefined(const Value& value) {
  return TemplateError(value.undefined_name() + " is undefined");
}

// The item at a position that may count from the end; none where there is none.
template <typename T>
const T* At(const std::vector<T>& items, int64_t index) {
  const auto size = static_cast<int64_t>(items.size());
  if (index < 0) index += size;
  return index < 0 || index >= size ? nullptr : &items[static_cast<size_t>(index)];
}

absl::StatusOr<Value> CharacterAt(Interpreter& interpreter, const Text& text, int64_t index) {
  RETURN_IF_ERROR(interpreter.Spend(text.size() / 16));
  const std::string_view bytes = text.view();
  size_t pos = 0;
  if (index >= 0) {
    for (; index > 0 && pos < bytes.size(); --index) {
      pos += Utf8Length(static_cast<unsigned char>(bytes[pos]));
    }
  } else {
    for (pos = bytes.size(); index < 0; ++index) {
      if (pos == 0) return Value::Undefined("a character before the start of a string");
      pos = PreviousChar(bytes, pos);
    }
  }
  if (pos >= bytes.size()) return Value::Undefined("a character behind the end of a string");
  return Value::String(text.Slice(pos, pos + Utf8Length(static_cast<unsigned char>(bytes[pos]))));
}

}  // namespace

absl::StatusOr<Value> GetItem(Interpreter& interpreter, const Value& object, const Value& key) {
  if (object.is_undefined()) return IsUndefined(object);
  if (object.is(Kind::kDict)) {
    if (const Value* found = object.dict().Find(key)) return *found;
  } else if (object.is(Kind::kNamespace) && key.is_string()) {
    if (const Value* found = object.space().attributes.Find(key.str())) return *found;
  } else if (key.is_integral() && (object.is(Kind::kList) || object.is(Kind::kTuple))) {
    if (const Value* found = At(object.items(), key.integer())) return *found;
  } else if (key.is_integral() && object.is_string()) {
    return CharacterAt(interpreter, object.text(), key.integer());
  }
  if (key.is_string()) {
    if (key.str().substr(0, 2) == "__") {
      return TemplateError("access to '" + key.str() + "' is not allowed");
    }
    if (std::optional<Value> method = BoundMethod(object, key.str())) return *std::move(method);
    return Value::Undefined("'" + key.str() + "'");
  }
  return Value::Undefined(absl::StrCat("the item ", Repr(key).str()));
}

absl::StatusOr<Value> GetAttribute(Interpreter&, const Value& object, const std::string& name) {
  if (object.is_undefined()) return IsUndefined(object);
  if (std::optional<Value> method = BoundMethod(object, name)) return *std::move(method);
  const Value* found = nullptr;
  if (object.is(Kind::kDict)) found = object.dict().Find(name);
  if (object.is(Kind::kNamespace)) found = object.space().attributes.Find(name);
  if (found != nullptr) return *found;
  if (name.substr(0, 2) == "__") return TemplateError("access to '" + name + "' is not allowed");
  if (object.is(Kind::kCallable) && name == "name") return Value::String(object.callable().name);
  return Value::Undefined("'" + name + "'");
}

absl::StatusOr<std::vector<Value>> Iterate(Interpreter& interpreter, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return std::vector<Value>();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kGenerator:
      RETURN_IF_ERROR(interpreter.Spend(value.items().size() / 4));
      return value.TakeItems();
    case Kind::kDict: {
      std::vector<Value> keys;
      for (const auto& [key, item] : value.dict().entries) keys.push_back(key);
      RETURN_IF_ERROR(interpreter.Spend(keys.size() / 4));
      return keys;
    }
    case Kind::kString: {
      const Text& text = value.text();
      RETURN_IF_ERROR(interpreter.Reserve(text.size() * 64));
      std::vector<Value> characters;
      for (size_t pos = 0; pos < text.size();) {
        const size_t end = pos + Utf8Length(static_cast<unsigned char>(text.str()[pos]));
        characters.push_back(Value::String(text.Slice(pos, end)));
        pos = end;
      }
      return characters;
    }
    default:
      return TemplateError(
          absl::StrCat("a value of type ", TypeName(value), " cannot be walked over"));
  }
}

absl::StatusOr<int64_t> IntArgument(const Arguments& arguments, size_t index, std::string_view name,
                                    std::optional<int64_t> fallback) {
  const Value* value = arguments.Find(index, name);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_integral()) {
    return TemplateError("the argument '" + std::string(name) + "' must be a whole number");
  }
  return value->integer();
}

absl::StatusOr<Text> TextArgument(const Arguments& arguments, size_t index, std::string_view name,
                                  std::optional<std::string> fallback) {
  const Value* value = arguments.Find(index, name);
  if (value == nullptr && fallback) return Text(*fallback);
  if (value == nullptr || !value->is_string()) {
    return TemplateError("the argument '" + std::string(name) + "' must be a string");
  }
  return value->text();
}

bool FlagArgument(const Arguments& arguments, size_t index, std::string_view name, bool fallback) {
  const Value* value = arguments.Find(index, name);
  return value == nullptr ? fallback : value->Truth();
}

}  // namespace tessera::server::jinja
