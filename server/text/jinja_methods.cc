// The methods of strings, lists and dicts.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"
#include "server/text/jinja_text_functions.h"
#include "server/text/unicode.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Value::Kind;
using Method = absl::StatusOr<Value> (*)(Interpreter&, const Value& self, const Arguments&);
using MethodTable = absl::flat_hash_map<std::string, Method>;

absl::StatusOr<Value> TextList(const std::vector<Text>& parts) {
  std::vector<Value> items;
  for (const Text& part : parts) items.push_back(Value::String(part));
  return Value::Sequence(Kind::kList, std::move(items));
}

std::optional<Text> OptionalText(const Arguments& arguments, size_t index, std::string_view name) {
  const Value* value = arguments.Find(index, name);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->text();
}

template <Case change>
absl::StatusOr<Value> CaseMethod(Interpreter&, const Value& self, const Arguments&) {
  return Value::String(ChangeCase(self.text(), change));
}

template <bool left, bool right>
absl::StatusOr<Value> StripMethod(Interpreter&, const Value& self, const Arguments& arguments) {
  const std::optional<Text> chars = OptionalText(arguments, 0, "chars");
  const auto view = chars ? std::optional<std::string_view>(chars->view()) : std::nullopt;
  return Value::String(Strip(self.text(), view, left, right));
}

template <bool from_right>
absl::StatusOr<Value> SplitMethod(Interpreter& interpreter, const Value& self,
                                  const Arguments& arguments) {
  const std::optional<Text> separator = OptionalText(arguments, 0, "sep");
  ASSIGN_OR_RETURN(const int64_t count, IntArgument(arguments, 1, "maxsplit", -1));
  const auto view = separator ? std::optional<std::string_view>(separator->view()) : std::nullopt;
  ASSIGN_OR_RETURN(const std::vector<Text> parts,
                   from_right ? SplitFromRight(interpreter, self.text(), view, count)
                              : Split(interpreter, self.text(), view, count));
  return TextList(parts);
}

absl::StatusOr<Value> SplitLinesMethod(Interpreter& interpreter, const Value& self,
                                       const Arguments& arguments) {
  RETURN_IF_ERROR(interpreter.Reserve(self.text().size() * 4));
  return TextList(SplitLines(self.text(), FlagArgument(arguments, 0, "keepends", false)));
}

// startswith and endswith, with a string or a tuple of strings.
template <bool at_start>
absl::StatusOr<Value> AffixMethod(Interpreter&, const Value& self, const Arguments& arguments) {
  const Value* affix = arguments.Find(0, "prefix");
  const auto has = [&](const Value& part) {
    if (!part.is_string() || part.str().size() > self.str().size()) return false;
    const size_t at = at_start ? 0 : self.str().size() - part.str().size();
    return self.str().compare(at, part.str().size(), part.str()) == 0;
  };
  if (affix != nullptr && affix->is_string()) return Value::Bool(has(*affix));
  if (affix == nullptr || !affix->is(Kind::kTuple)) {
    return TemplateError("startswith and endswith take a string or a tuple of strings");
  }
  return Value::Bool(std::any_of(affix->items().begin(), affix->items().end(), has));
}

template <bool prefix>
absl::StatusOr<Value> RemoveAffix(Interpreter&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text affix, TextArgument(arguments, 0, "affix", std::nullopt));
  const size_t size = self.str().size();
  if (affix.size() > size) return self;
  const size_t at = prefix ? 0 : size - affix.size();
  if (self.str().compare(at, affix.size(), affix.str()) != 0) return self;
  return Value::String(prefix ? self.text().Slice(affix.size(), size) : self.text().Slice(0, at));
}

absl::StatusOr<Value> ReplaceMethod(Interpreter& interpreter, const Value& self,
                                    const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text from, TextArgument(arguments, 0, "old", std::nullopt));
  ASSIGN_OR_RETURN(const Text to, TextArgument(arguments, 1, "new", std::nullopt));
  ASSIGN_OR_RETURN(const int64_t count, IntArgument(arguments, 2, "count", -1));
  ASSIGN_OR_RETURN(Text text, Replace(interpreter, self.text(), from, to, count));
  return Value::String(std::move(text));
}

// find and rfind, index and rindex: positions count characters.
template <bool from_right, bool must_be_there>
absl::StatusOr<Value> FindMethod(Interpreter&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text part, TextArgument(arguments, 0, "sub", std::nullopt));
  const std::string& bytes = self.str();
  const size_t at = from_right ? bytes.rfind(part.str()) : bytes.find(part.str());
  if (at == std::string::npos) {
    if (must_be_there) return TemplateError("substring not found");
    return Value::Int(-1);
  }
  return Value::Int(static_cast<int64_t>(CountChars(self.text().view().substr(0, at))));
}

absl::StatusOr<Value> CountMethod(Interpreter&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text part, TextArgument(arguments, 0, "sub", std::nullopt));
  if (part.empty()) return Value::Int(static_cast<int64_t>(CountChars(self.text().view())) + 1);
  int64_t count = 0;
  for (size_t at = self.str().find(part.str()); at != std::string::npos;
       at = self.str().find(part.str(), at + part.size())) {
    ++count;
  }
  return Value::Int(count);
}

absl::StatusOr<Value> JoinMethod(Interpreter& interpreter, const Value& self,
                                 const Arguments& arguments) {
  if (arguments.positional.size() != 1) return TemplateError("join() takes one argument");
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, arguments.positional[0]));
  Text text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) return TemplateError("join() takes strings only");
    RETURN_IF_ERROR(interpreter.Reserve(self.text().size() + items[i].text().size()));
    if (i > 0) text.Append(self.text());
    text.Append(items[i].text());
  }
  return Value::String(std::move(text));
}

// isdigit and its kind: every character is in `set`, and there is one.
template <CategorySet set>
absl::StatusOr<Value> AllIn(Interpreter&, const Value& self, const Arguments&) {
  const std::string_view bytes = self.text().view();
  for (size_t pos = 0; pos < bytes.size();) {
    if (!In(set, NextChar(bytes, &pos))) return Value::Bool(false);
  }
  return Value::Bool(!bytes.empty());
}

absl::StatusOr<Value> IsSpaceMethod(Interpreter&, const Value& self, const Arguments&) {
  return Value::Bool(!self.text().empty() && Strip(self.text(), std::nullopt, true, false).empty());
}

// islower and isupper: some character has case, and none has the other.
template <Category wanted, Category other>
absl::StatusOr<Value> IsCaseMethod(Interpreter&, const Value& self, const Arguments&) {
  const std::string_view bytes = self.text().view();
  bool found = false;
  for (size_t pos = 0; pos < bytes.size();) {
    const char32_t c = NextChar(bytes, &pos);
    if (In(Bit(other) | Bit(Category::kLt), c)) return Value::Bool(false);
    found |= In(Bit(wanted), c);
  }
  return Value::Bool(found);
}

template <int left_parts, int right_parts>
absl::StatusOr<Value> PadMethod(Interpreter& interpreter, const Value& self,
                                const Arguments& arguments) {
  ASSIGN_OR_RETURN(const int64_t width, IntArgument(arguments, 0, "width", std::nullopt));
  ASSIGN_OR_RETURN(const Text fill, TextArgument(arguments, 1, "fillchar", " "));
  ASSIGN_OR_RETURN(Text text,
                   Pad(interpreter, self.text(), width, fill.view(), left_parts, right_parts));
  return Value::String(std::move(text));
}

absl::StatusOr<Value> ZfillMethod(Interpreter& interpreter, const Value& self,
                                  const Arguments& arguments) {
  ASSIGN_OR_RETURN(const int64_t width, IntArgument(arguments, 0, "width", std::nullopt));
  const bool sign = !self.str().empty() && (self.str()[0] == '-' || self.str()[0] == '+');
  Text text = self.text().Slice(0, sign);
  ASSIGN_OR_RETURN(const Text digits, Pad(interpreter, self.text().Slice(sign, self.text().size()),
                                          width - sign, "0", 1, 0));
  text.Append(digits);
  return Value::String(std::move(text));
}

template <bool from_right>
absl::StatusOr<Value> PartitionMethod(Interpreter&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Text separator, TextArgument(arguments, 0, "sep", std::nullopt));
  if (separator.empty()) return TemplateError("empty separator");
  const Text& text = self.text();
  const size_t at =
      from_right ? text.str().rfind(separator.str()) : text.str().find(separator.str());
  std::vector<Value> parts(3, Value::String(Text()));
  if (at == std::string::npos) {
    parts[from_right ? 2 : 0] = self;
  } else {
    parts[0] = Value::String(text.Slice(0, at));
    parts[1] = Value::String(text.Slice(at, at + separator.size()));
    parts[2] = Value::String(text.Slice(at + separator.size(), text.size()));
  }
  return Value::Sequence(Kind::kTuple, std::move(parts));
}

absl::StatusOr<Value> FormatMethod(Interpreter& interpreter, const Value& self,
                                   const Arguments& arguments) {
  return FormatBraces(interpreter, self.text(), arguments);
}

const MethodTable& TextMethods() {
  constexpr CategorySet kNd = Bit(Category::kNd);
  static const MethodTable* const table =
      new MethodTable{{"lower", CaseMethod<Case::kLower>},
                      {"casefold", CaseMethod<Case::kLower>},
                      {"upper", CaseMethod<Case::kUpper>},
                      {"capitalize", CaseMethod<Case::kCapitalize>},
                      {"title", CaseMethod<Case::kTitle>},
                      {"swapcase", CaseMethod<Case::kSwap>},
                      {"strip", StripMethod<true, true>},
                      {"lstrip", StripMethod<true, false>},
                      {"rstrip", StripMethod<false, true>},
                      {"split", SplitMethod<false>},
                      {"rsplit", SplitMethod<true>},
                      {"splitlines", SplitLinesMethod},
                      {"startswith", AffixMethod<true>},
                      {"endswith", AffixMethod<false>},
                      {"removeprefix", RemoveAffix<true>},
                      {"removesuffix", RemoveAffix<false>},
                      {"replace", ReplaceMethod},
                      {"find", FindMethod<false, false>},
                      {"rfind", FindMethod<true, false>},
                      {"index", FindMethod<false, true>},
                      {"rindex", FindMethod<true, true>},
                      {"count", CountMethod},
                      {"join", JoinMethod},
                      {"isdigit", AllIn<kNd>},
                      {"isdecimal", AllIn<kNd>},
                      {"isnumeric", AllIn<kNumbers>},
                      {"isalpha", AllIn<kLetters>},
                      {"isalnum", AllIn<kLetters | kNumbers>},
                      {"isspace", IsSpaceMethod},
                      {"islower", IsCaseMethod<Category::kLl, Category::kLu>},
                      {"isupper", IsCaseMethod<Category::kLu, Category::kLl>},
                      {"center", PadMethod<1, 1>},
                      {"ljust", PadMethod<0, 1>},
                      {"rjust", PadMethod<1, 0>},
                      {"zfill", ZfillMethod},
                      {"partition", PartitionMethod<false>},
                      {"rpartition", PartitionMethod<true>},
                      {"format", FormatMethod}};
  return *table;
}

absl::StatusOr<Value> IndexOfItem(Interpreter&, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return TemplateError("index() takes an item");
  for (size_t i = 0; i < self.items().size(); ++i) {
    if (Equal(self.items()[i], arguments.positional[0])) return Value::Int(static_cast<int64_t>(i));
  }
  return TemplateError("the item is not in the list");
}

absl::StatusOr<Value> CountItem(Interpreter&, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return TemplateError("count() takes an item");
  return Value::Int(std::count_if(self.items().begin(), self.items().end(), [&](const Value& item) {
    return Equal(item, arguments.positional[0]);
  }));
}

absl::StatusOr<Value> Copy(Interpreter&, const Value& self, const Arguments&) { return self; }

// What would change a value that others may hold.
absl::StatusOr<Value> Forbidden(Interpreter&, const Value& self, const Arguments&) {
  return TemplateError(absl::StrCat("a template must not change a ", TypeName(self)));
}

const MethodTable& ListMethods() {
  static const MethodTable* const table = new MethodTable{
      {"index", IndexOfItem}, {"count", CountItem},   {"copy", Copy},        {"append", Forbidden},
      {"clear", Forbidden},   {"extend", Forbidden},  {"insert", Forbidden}, {"pop", Forbidden},
      {"remove", Forbidden},  {"reverse", Forbidden}, {"sort", Forbidden}};
  return *table;
}

const MethodTable& TupleMethods() {
  static const MethodTable* const table =
      new MethodTable{{"index", IndexOfItem}, {"count", CountItem}};
  return *table;
}

absl::StatusOr<Value> GetMethod(Interpreter&, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) return TemplateError("get() takes a key");
  if (const Value* found = self.dict().Find(arguments.positional[0])) return *found;
  const Value* fallback = arguments.Find(1, "default");
  return fallback == nullptr ? Value::None() : *fallback;
}

template <bool keys, bool values>
absl::StatusOr<Value> EntriesMethod(Interpreter& interpreter, const Value& self, const Arguments&) {
  std::vector<Value> items;
  RETURN_IF_ERROR(interpreter.Reserve(self.dict().entries.size() * 100));
  for (const auto& [key, value] : self.dict().entries) {
    if (keys && values) {
      ASSIGN_OR_RETURN(items.emplace_back(), Value::Sequence(Kind::kTuple, {key, value}));
    } else {
      items.push_back(keys ? key : value);
    }
  }
  return Value::Sequence(Kind::kList, std::move(items));
}

const MethodTable& DictMethods() {
  static const MethodTable* const table = new MethodTable{{"get", GetMethod},
                                                          {"keys", EntriesMethod<true, false>},
                                                          {"values", EntriesMethod<false, true>},
                                                          {"items", EntriesMethod<true, true>},
                                                          {"copy", Copy},
                                                          {"clear", Forbidden},
                                                          {"pop", Forbidden},
                                                          {"popitem", Forbidden},
                                                          {"setdefault", Forbidden},
                                                          {"update", Forbidden}};
  return *table;
}

}  // namespace

std::optional<Value> BoundMethod(const Value& object, std::string_view name) {
  const MethodTable* table = object.is_string()        ? &TextMethods()
                             : object.is(Kind::kList)  ? &ListMethods()
                             : object.is(Kind::kTuple) ? &TupleMethods()
                             : object.is(Kind::kDict)  ? &DictMethods()
                                                       : nullptr;
  if (table == nullptr) return std::nullopt;
  const auto it = table->find(absl::string_view(name.data(), name.size()));
  if (it == table->end()) return std::nullopt;
  return Value::FromCallable(it->first, [object, method = it->second](Interpreter& interpreter,
                                                                      const Arguments& arguments) {
    return method(interpreter, object, arguments);
  });
}

}  // namespace tessera::server::jinja
