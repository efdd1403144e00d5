#include "server/text/json_fields.h"

#include "absl/strings/str_cat.h"
#include "server/text/utf8.h"
#include "shard_loader/status_macros.h"

namespace tessera::server {
namespace {

absl::Status WrongField(const char* name, const char* expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer.json: field '", name, "' must be ", expected));
}

// The field, or nullptr where it is missing or null.
const nlohmann::json* Find(const nlohmann::json& spec, const char* name) {
  const auto it = spec.find(name);
  return it == spec.end() || it->is_null() ? nullptr : &*it;
}

}  // namespace

absl::StatusOr<std::string> TypeOf(const nlohmann::json& spec, const char* what) {
  if (!spec.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: a ", what, " must be an object"));
  }
  const nlohmann::json* type = Find(spec, "type");
  if (type == nullptr || !type->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: a ", what, " has no field 'type'"));
  }
  return type->get<std::string>();
}

absl::StatusOr<bool> BoolField(const nlohmann::json& spec, const char* name, bool fallback) {
  const nlohmann::json* field = Find(spec, name);
  if (field == nullptr) return fallback;
  if (!field->is_boolean()) return WrongField(name, "true or false");
  return field->get<bool>();
}

absl::StatusOr<std::string> StringField(const nlohmann::json& spec, const char* name,
                                        std::optional<std::string> fallback) {
  const nlohmann::json* field = Find(spec, name);
  if (field == nullptr && fallback) return *fallback;
  if (field == nullptr || !field->is_string()) return WrongField(name, "a string");
  return field->get<std::string>();
}

absl::StatusOr<uint64_t> NumberField(const nlohmann::json& spec, const char* name,
                                     std::optional<uint64_t> fallback) {
  const nlohmann::json* field = Find(spec, name);
  if (field == nullptr && fallback) return *fallback;
  if (field == nullptr || !field->is_number_integer() ||
      (!field->is_number_unsigned() && field->get<int64_t>() < 0)) {
    return WrongField(name, "a whole number, not negative");
  }
  return field->get<uint64_t>();
}

absl::StatusOr<const nlohmann::json*> ArrayField(const nlohmann::json& spec, const char* name) {
  const nlohmann::json* field = Find(spec, name);
  if (field == nullptr || !field->is_array()) return WrongField(name, "a list");
  return field;
}

absl::StatusOr<char32_t> CharField(const nlohmann::json& spec, const char* name,
                                   std::optional<char32_t> fallback) {
  const nlohmann::json* field = Find(spec, name);
  if (field == nullptr && fallback) return *fallback;
  if (field == nullptr || !field->is_string()) return WrongField(name, "one character");
  const std::string_view text = field->get_ref<const std::string&>();
  size_t pos = 0;
  if (text.empty()) return WrongField(name, "one character");
  const char32_t c = NextChar(text, &pos);
  if (pos != text.size()) return WrongField(name, "one character");
  return c;
}

absl::StatusOr<TextPattern> PatternField(const nlohmann::json& spec) {
  const nlohmann::json* field = Find(spec, "pattern");
  if (field != nullptr && field->is_object() && field->size() == 1) {
    if (field->contains("String")) {
      ASSIGN_OR_RETURN(std::string text, StringField(*field, "String"));
      return TextPattern::Literal(std::move(text));
    }
    if (field->contains("Regex")) {
      ASSIGN_OR_RETURN(const std::string expression, StringField(*field, "Regex"));
      return TextPattern::Expression(expression);
    }
  }
  return WrongField("pattern", "{\"String\": ...} or {\"Regex\": ...}");
}

}  // namespace tessera::server
