// Filters over lists and dicts.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/text/jinja_interpreter.h"
#include "server/text/jinja_library.h"
#include "server/text/jinja_text_functions.h"
#include "shard_loader/status_macros.h"

namespace tessera::server::jinja {
namespace {

using Kind = Value::Kind;
using Result = absl::StatusOr<Value>;

Result MakeList(std::vector<Value> items) { return Value::Sequence(Kind::kList, std::move(items)); }
Result MakeGenerator(std::vector<Value> items) {
  return Value::Sequence(Kind::kGenerator, std::move(items));
}

// item["a"]["0"]["b"] for the path "a.0.b"; whole numbers are positions.
Result AtPath(Interpreter& interpreter, const Value& item, const Value& path) {
  if (!path.is_string()) return GetItem(interpreter, item, path);
  Value value = item;
  std::string_view rest = path.str();
  while (true) {
    const size_t dot = std::min(rest.find('.'), rest.size());
    const std::string part(rest.substr(0, dot));
    int64_t index = 0;
    const bool is_index =
        !part.empty() && part[0] >= '0' && part[0] <= '9' && absl::SimpleAtoi(part, &index);
    ASSIGN_OR_RETURN(
        value, GetItem(interpreter, value, is_index ? Value::Int(index) : Value::String(part)));
    if (dot == rest.size()) return value;
    rest.remove_prefix(dot + 1);
  }
}

// Strings compare without regard to case unless asked.
Value SortKey(const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is_string()) return value;
  return Value::String(ChangeCase(value.text(), Case::kLower));
}

absl::Status StableSort(Interpreter& interpreter, bool reverse,
                        std::vector<std::pair<std::vector<Value>, Value>>* entries) {
  RETURN_IF_ERROR(interpreter.Spend(entries->size() * 4));
  absl::Status failed;
  const auto before = [&](const auto& a, const auto& b) {
    for (size_t i = 0; i < a.first.size(); ++i) {
      const absl::StatusOr<int> order = Compare(a.first[i], b.first[i]);
      if (!order.ok()) {
        failed = order.status();
        return false;
      }
      if (*order != 0) return reverse ? *order > 0 : *order < 0;
    }
    return false;
  };
  std::stable_sort(entries->begin(), entries->end(), before);
  return failed;
}

Result SortFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  const bool reverse = FlagArgument(arguments, 0, "reverse", false);
  const bool case_sensitive = FlagArgument(arguments, 1, "case_sensitive", false);
  const Value* attribute = arguments.Find(2, "attribute");
  std::vector<Value> paths;
  if (attribute != nullptr && attribute->is_string()) {
    ASSIGN_OR_RETURN(const std::vector<Text> parts, Split(interpreter, attribute->text(), ",", -1));
    for (const Text& part : parts) paths.push_back(Value::String(part));
  } else if (attribute != nullptr && !attribute->is(Kind::kNone)) {
    paths.push_back(*attribute);
  }
  std::vector<std::pair<std::vector<Value>, Value>> entries;
  for (const Value& item : items) {
    std::vector<Value> keys;
    for (const Value& path : paths) {
      ASSIGN_OR_RETURN(const Value key, AtPath(interpreter, item, path));
      keys.push_back(SortKey(key, case_sensitive));
    }
    if (paths.empty()) keys.push_back(SortKey(item, case_sensitive));
    entries.emplace_back(std::move(keys), item);
  }
  RETURN_IF_ERROR(StableSort(interpreter, reverse, &entries));
  std::vector<Value> sorted;
  for (auto& [keys, item] : entries) sorted.push_back(std::move(item));
  return MakeList(std::move(sorted));
}

Result DictSortFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  if (!input.is(Kind::kDict)) return TemplateError("dictsort takes a dict");
  const bool case_sensitive = FlagArgument(arguments, 0, "case_sensitive", false);
  ASSIGN_OR_RETURN(const Text by, TextArgument(arguments, 1, "by", "key"));
  const bool reverse = FlagArgument(arguments, 2, "reverse", false);
  if (by.str() != "key" && by.str() != "value") {
    return TemplateError("dictsort sorts by 'key' or by 'value'");
  }
  std::vector<std::pair<std::vector<Value>, Value>> entries;
  for (const auto& [key, value] : input.dict().entries) {
    ASSIGN_OR_RETURN(Value pair, Value::Sequence(Kind::kTuple, {key, value}));
    entries.push_back(
        {{SortKey(by.str() == "key" ? key : value, case_sensitive)}, std::move(pair)});
  }
  RETURN_IF_ERROR(StableSort(interpreter, reverse, &entries));
  std::vector<Value> sorted;
  for (auto& [keys, pair] : entries) sorted.push_back(std::move(pair));
  return MakeList(std::move(sorted));
}

Result GroupByFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Value* attribute = arguments.Find(0, "attribute");
  if (attribute == nullptr) return TemplateError("groupby takes an attribute");
  const Value* fallback = arguments.Find(1, "default");
  const bool case_sensitive = FlagArgument(arguments, 2, "case_sensitive", false);
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  std::vector<std::pair<std::vector<Value>, Value>> entries;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(Value key, AtPath(interpreter, item, *attribute));
    if (key.is_undefined() && fallback != nullptr) key = *fallback;
    entries.push_back({{SortKey(key, case_sensitive), key}, item});
  }
  RETURN_IF_ERROR(StableSort(interpreter, false, &entries));
  std::vector<Value> groups;
  for (size_t begin = 0; begin < entries.size();) {
    std::vector<Value> members;
    size_t end = begin;
    while (end < entries.size() && Equal(entries[end].first[0], entries[begin].first[0])) {
      members.push_back(entries[end++].second);
    }
    ASSIGN_OR_RETURN(Value list, MakeList(std::move(members)));
    ASSIGN_OR_RETURN(groups.emplace_back(),
                     Value::Sequence(Kind::kTuple, {entries[begin].first[1], std::move(list)}));
    begin = end;
  }
  return MakeList(std::move(groups));
}

Result MapFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  std::vector<Value> mapped;
  if (arguments.positional.empty()) {
    const Value* attribute = arguments.Find(0, "attribute");
    if (attribute == nullptr) return TemplateError("map takes a filter or an attribute");
    const Value* fallback = arguments.Find(1, "default");
    for (const Value& item : items) {
      ASSIGN_OR_RETURN(Value value, AtPath(interpreter, item, *attribute));
      mapped.push_back(value.is_undefined() && fallback != nullptr ? *fallback : std::move(value));
    }
    return MakeGenerator(std::move(mapped));
  }
  if (!arguments.positional[0].is_string()) return TemplateError("map takes the name of a filter");
  const std::string name = arguments.positional[0].str();
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(mapped.emplace_back(), ApplyFilter(interpreter, name, item, rest));
  }
  return MakeGenerator(std::move(mapped));
}

// select, reject, selectattr, rejectattr.
template <bool keep, bool by_attribute>
Result SelectFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  Arguments rest = arguments;
  Value path;
  if (by_attribute) {
    if (rest.positional.empty())
      return TemplateError("selectattr and rejectattr take an attribute");
    path = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  std::string test;
  if (!rest.positional.empty()) {
    if (!rest.positional[0].is_string())
      return TemplateError("the name of a test must be a string");
    test = rest.positional[0].str();
    rest.positional.erase(rest.positional.begin());
  }
  std::vector<Value> kept;
  for (const Value& item : items) {
    Value value = item;
    if (by_attribute) {
      ASSIGN_OR_RETURN(value, AtPath(interpreter, item, path));
    }
    bool holds = false;
    if (test.empty()) {
      holds = value.Truth();
    } else {
      ASSIGN_OR_RETURN(holds, ApplyTest(interpreter, test, value, rest));
    }
    if (holds == keep) kept.push_back(item);
  }
  return MakeGenerator(std::move(kept));
}

Result UniqueFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  const bool case_sensitive = FlagArgument(arguments, 0, "case_sensitive", false);
  const Value* attribute = arguments.Find(1, "attribute");
  Dict seen;
  std::vector<Value> unique;
  for (const Value& item : items) {
    Value key = item;
    if (attribute != nullptr && !attribute->is(Kind::kNone)) {
      ASSIGN_OR_RETURN(key, AtPath(interpreter, item, *attribute));
    }
    key = SortKey(key, case_sensitive);
    if (!key.is_string()) RETURN_IF_ERROR(interpreter.Spend(seen.entries.size() / 4));
    if (seen.Find(key) != nullptr) continue;
    seen.Set(std::move(key), Value::None());
    unique.push_back(item);
  }
  return MakeGenerator(std::move(unique));
}

template <bool first>
Result EndFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  if (input.is(Kind::kGenerator) && !first) {
    return TemplateError("'last' does not work on a generator; put it through 'list' first");
  }
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  if (items.empty()) return Value::Undefined("the item of an empty list");
  return first ? items.front() : items.back();
}

template <int sign>
Result ExtremeFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  const bool case_sensitive = FlagArgument(arguments, 0, "case_sensitive", false);
  const Value* attribute = arguments.Find(1, "attribute");
  if (items.empty()) return Value::Undefined("the extreme of an empty list");
  Value best_key, best;
  for (size_t i = 0; i < items.size(); ++i) {
    Value key = items[i];
    if (attribute != nullptr && !attribute->is(Kind::kNone)) {
      ASSIGN_OR_RETURN(key, AtPath(interpreter, items[i], *attribute));
    }
    key = SortKey(key, case_sensitive);
    if (i > 0) {
      ASSIGN_OR_RETURN(const int order, Compare(key, best_key));
      if (order * sign <= 0) continue;
    }
    best_key = std::move(key);
    best = items[i];
  }
  return best;
}

Result SumFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  const Value* attribute = arguments.Find(0, "attribute");
  const Value* start = arguments.Find(1, "start");
  Value sum = start == nullptr ? Value::Int(0) : *start;
  for (const Value& item : items) {
    Value value = item;
    if (attribute != nullptr && !attribute->is(Kind::kNone)) {
      ASSIGN_OR_RETURN(value, AtPath(interpreter, item, *attribute));
    }
    if (sum.is_string()) return TemplateError("sum does not work on strings");
    ASSIGN_OR_RETURN(sum, BinaryOperation(interpreter, "+", sum, value));
  }
  return sum;
}

Result ReverseFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(interpreter, input));
  std::reverse(items.begin(), items.end());
  if (!input.is_string()) return MakeGenerator(std::move(items));
  Text text;
  for (const Value& item : items) text.Append(item.text());
  return Value::String(std::move(text));
}

Result ListFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(interpreter, input));
  return MakeList(std::move(items));
}

Result ItemsFilter(Interpreter& interpreter, const Value& input, const Arguments&) {
  if (input.is_undefined()) return MakeGenerator({});
  if (!input.is(Kind::kDict)) return TemplateError("items takes a dict");
  ASSIGN_OR_RETURN(const Value pairs, interpreter.Call(*BoundMethod(input, "items"), {}));
  return MakeGenerator(pairs.items());
}

Result JoinFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  const Value* separator = arguments.Find(0, "d");
  const Value* attribute = arguments.Find(1, "attribute");
  const Text between = separator == nullptr ? Text() : ToText(*separator);
  Text text;
  for (size_t i = 0; i < items.size(); ++i) {
    Value value = items[i];
    if (attribute != nullptr && !attribute->is(Kind::kNone)) {
      ASSIGN_OR_RETURN(value, AtPath(interpreter, value, *attribute));
    }
    const Text part = ToText(value);
    RETURN_IF_ERROR(interpreter.Reserve(between.size() + part.size()));
    if (i > 0) text.Append(between);
    text.Append(part);
  }
  return Value::String(std::move(text));
}

// Rows of `size` items, the last filled up where something is given for that.
Result BatchFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  ASSIGN_OR_RETURN(const int64_t size, IntArgument(arguments, 0, "linecount", std::nullopt));
  const Value* fill = arguments.Find(1, "fill_with");
  if (size < 1 || size > 1'000'000) return TemplateError("batch takes a size from 1 on");
  std::vector<Value> rows;
  for (size_t begin = 0; begin < items.size(); begin += static_cast<size_t>(size)) {
    const size_t end = std::min(items.size(), begin + static_cast<size_t>(size));
    std::vector<Value> row(items.begin() + static_cast<ptrdiff_t>(begin),
                           items.begin() + static_cast<ptrdiff_t>(end));
    if (fill != nullptr && !fill->is(Kind::kNone)) row.resize(static_cast<size_t>(size), *fill);
    ASSIGN_OR_RETURN(rows.emplace_back(), MakeList(std::move(row)));
  }
  return MakeGenerator(std::move(rows));
}

// `count` columns of nearly the same length.
Result SliceFilter(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(interpreter, input));
  ASSIGN_OR_RETURN(const int64_t count, IntArgument(arguments, 0, "slices", std::nullopt));
  const Value* fill = arguments.Find(1, "fill_with");
  if (count < 1 || count > 100'000) return TemplateError("slice takes a count from 1 on");
  const size_t columns = static_cast<size_t>(count);
  const size_t base = items.size() / columns;
  const size_t longer = items.size() % columns;
  std::vector<Value> result;
  size_t at = 0;
  for (size_t i = 0; i < columns; ++i) {
    const size_t end = at + base + (i < longer);
    std::vector<Value> column(items.begin() + static_cast<ptrdiff_t>(at),
                              items.begin() + static_cast<ptrdiff_t>(end));
    if (fill != nullptr && !fill->is(Kind::kNone) && i >= longer) column.push_back(*fill);
    ASSIGN_OR_RETURN(result.emplace_back(), MakeList(std::move(column)));
    at = end;
  }
  return MakeGenerator(std::move(result));
}

}  // namespace

void AddSequenceFilters(FilterTable* table) {
  table->insert({{"sort", SortFilter},
                 {"dictsort", DictSortFilter},
                 {"groupby", GroupByFilter},
                 {"map", MapFilter},
                 {"select", SelectFilter<true, false>},
                 {"reject", SelectFilter<false, false>},
                 {"selectattr", SelectFilter<true, true>},
                 {"rejectattr", SelectFilter<false, true>},
                 {"unique", UniqueFilter},
                 {"first", EndFilter<true>},
                 {"last", EndFilter<false>},
                 {"max", ExtremeFilter<1>},
                 {"min", ExtremeFilter<-1>},
                 {"sum", SumFilter},
                 {"reverse", ReverseFilter},
                 {"list", ListFilter},
                 {"items", ItemsFilter},
                 {"join", JoinFilter},
                 {"batch", BatchFilter},
                 {"slice", SliceFilter}});
}

}  // namespace tessera::server::jinja
