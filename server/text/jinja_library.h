// The filters, tests, methods and global functions that templates may use.
#ifndef TESSERA_SERVER_TEXT_JINJA_LIBRARY_H_
#define TESSERA_SERVER_TEXT_JINJA_LIBRARY_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/text/jinja_value.h"

namespace tessera::server::jinja {

class Interpreter;

using Filter = absl::StatusOr<Value> (*)(Interpreter&, const Value& input, const Arguments&);
using Test = absl::StatusOr<bool> (*)(Interpreter&, const Value& input, const Arguments&);

bool HasFilter(std::string_view name);
bool HasTest(std::string_view name);
// INVALID_ARGUMENT for an unknown name.
absl::StatusOr<Value> ApplyFilter(Interpreter& interpreter, std::string_view name,
                                  const Value& input, const Arguments& arguments);
absl::StatusOr<bool> ApplyTest(Interpreter& interpreter, std::string_view name, const Value& input,
                               const Arguments& arguments);

// The method `name` of a string, list or dict, bound to it; none where its type has no such method.
// Methods that change a value cannot be called, as in transformers' sandbox.
std::optional<Value> BoundMethod(const Value& object, std::string_view name);

// range, dict, namespace, cycler, joiner.
const absl::flat_hash_map<std::string, Value>& Globals();

// The tables of the files that define filters.
using FilterTable = absl::flat_hash_map<std::string, Filter>;
void AddSequenceFilters(FilterTable* table);
void AddTextFilters(FilterTable* table);

// object[key], as subscripts look it up; undefined where there is nothing.
absl::StatusOr<Value> GetItem(Interpreter& interpreter, const Value& object, const Value& key);
// object.name.
absl::StatusOr<Value> GetAttribute(Interpreter& interpreter, const Value& object,
                                   const std::string& name);

// The items of anything that can be walked over; INVALID_ARGUMENT for what cannot.
absl::StatusOr<std::vector<Value>> Iterate(Interpreter& interpreter, const Value& value);

// "%d of %d" % (1, 2).
absl::StatusOr<Value> FormatPercent(Interpreter& interpreter, const Text& format,
                                    const Arguments& arguments);
// "{} of {}".format(1, 2).
absl::StatusOr<Value> FormatBraces(Interpreter& interpreter, const Text& format,
                                   const Arguments& arguments);

// An argument of a filter or method that must be a whole number or a string.
absl::StatusOr<int64_t> IntArgument(const Arguments& arguments, size_t index, std::string_view name,
                                    std::optional<int64_t> fallback);
absl::StatusOr<Text> TextArgument(const Arguments& arguments, size_t index, std::string_view name,
                                  std::optional<std::string> fallback);
bool FlagArgument(const Arguments& arguments, size_t index, std::string_view name, bool fallback);

// A failure of a template while it runs.
absl::Status TemplateError(std::string_view message);

}  // namespace tessera::server::jinja

#endif  // TESSERA_SERVER_TEXT_JINJA_LIBRARY_H_
