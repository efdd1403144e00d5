#include "shard_loader/model/config_reader.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

constexpr size_t kMostListEntries = 65536;

std::string Show(const nlohmann::json& value) {
  if (value.is_structured()) return value.type_name();
  return Excerpt(value.dump());
}

}  // namespace

bool ConfigReader::Has(const std::string& key) const { return !Get(key).is_null(); }

const nlohmann::json& ConfigReader::Get(const std::string& key) const {
  static const nlohmann::json kAbsent;
  const auto found = object_.find(key);
  return found == object_.end() ? kAbsent : *found;
}

std::string ConfigReader::Key(std::initializer_list<const char*> keys) const {
  for (const char* key : keys) {
    if (Has(key)) return key;
  }
  return *keys.begin();
}

void ConfigReader::Fail(absl::StatusCode code, const std::string& key, const std::string& problem) {
  Adopt(absl::Status(code, absl::StrCat("shard_loader: ", file_, ": ", path_, key, " ", problem)));
}

void ConfigReader::Adopt(const absl::Status& status) {
  if (status_.ok()) status_ = status;
}

std::optional<int64_t> ConfigReader::AsInteger(const nlohmann::json& value, const std::string& key,
                                               IntegerBounds bounds) {
  // An unsigned above the range of int64 would wrap in get<int64_t>().
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<uint64_t>() >= (uint64_t{1} << 63));
  if (fits) {
    const auto number = value.get<int64_t>();
    if (number >= bounds.least && number <= bounds.most) return number;
  }
  Fail(absl::StatusCode::kFailedPrecondition, key,
       absl::StrCat("is ", Show(value), ", expected an integer from ", bounds.least, " to ",
                    bounds.most));
  return std::nullopt;
}

int64_t ConfigReader::Integer(const std::string& key, IntegerBounds bounds,
                              std::optional<int64_t> fallback) {
  if (!Has(key)) {
    if (!fallback) Fail(absl::StatusCode::kFailedPrecondition, key, "is missing");
    return fallback.value_or(bounds.least);
  }
  return AsInteger(Get(key), key, bounds).value_or(bounds.least);
}

double ConfigReader::Number(const std::string& key, NumberBounds bounds,
                            std::optional<double> fallback) {
  if (!Has(key)) {
    if (!fallback) Fail(absl::StatusCode::kFailedPrecondition, key, "is missing");
    return fallback.value_or(bounds.least);
  }
  const nlohmann::json& value = Get(key);
  if (value.is_number()) {
    const auto number = value.get<double>();
    if (std::isfinite(number) && number >= bounds.least && number <= bounds.most) return number;
  }
  Fail(absl::StatusCode::kFailedPrecondition, key,
       absl::StrCat("is ", Show(value), ", expected a number from ", bounds.least, " to ",
                    bounds.most));
  return bounds.least;
}

bool ConfigReader::Bool(const std::string& key, bool fallback) {
  if (!Has(key)) return fallback;
  if (Get(key).is_boolean()) return Get(key).get<bool>();
  Fail(absl::StatusCode::kFailedPrecondition, key,
       absl::StrCat("is ", Show(Get(key)), ", expected true or false"));
  return fallback;
}

std::string ConfigReader::String(const std::string& key, const std::string& fallback) {
  if (!Has(key)) return fallback;
  if (Get(key).is_string()) return Get(key).get<std::string>();
  Fail(absl::StatusCode::kFailedPrecondition, key,
       absl::StrCat("is ", Show(Get(key)), ", expected a string"));
  return fallback;
}

std::vector<int64_t> ConfigReader::IntegerOrList(const std::string& key, IntegerBounds bounds) {
  std::vector<int64_t> values;
  const nlohmann::json& field = Get(key);
  if (field.is_null()) return values;
  if (!field.is_array()) {
    if (auto value = AsInteger(field, key, bounds)) values.push_back(*value);
    return values;
  }
  if (field.size() > kMostListEntries) {
    Fail(absl::StatusCode::kFailedPrecondition, key,
         absl::StrCat("has ", field.size(), " entries, at most ", kMostListEntries));
    return values;
  }
  for (const auto& entry : field) {
    auto value = AsInteger(entry, key, bounds);
    if (!value) break;
    values.push_back(*value);
  }
  return values;
}

std::vector<double> ConfigReader::NumberList(const std::string& key, NumberBounds bounds) {
  std::vector<double> values;
  const nlohmann::json& field = Get(key);
  if (field.is_null()) return values;
  if (!field.is_array() || field.size() > kMostListEntries) {
    Fail(absl::StatusCode::kFailedPrecondition, key, "is no list of numbers");
    return values;
  }
  for (const auto& entry : field) {
    const double number = entry.is_number() ? entry.get<double>() : std::nan("");
    if (!(number >= bounds.least && number <= bounds.most)) {
      Fail(absl::StatusCode::kFailedPrecondition, key,
           absl::StrCat("has ", Show(entry), ", expected numbers from ", bounds.least, " to ",
                        bounds.most));
      break;
    }
    values.push_back(number);
  }
  return values;
}

std::vector<std::string> ConfigReader::StringList(const std::string& key) {
  std::vector<std::string> values;
  const nlohmann::json& field = Get(key);
  if (field.is_null()) return values;
  if (!field.is_array() || field.size() > kMostListEntries) {
    Fail(absl::StatusCode::kFailedPrecondition, key, "is no list of strings");
    return values;
  }
  for (const auto& entry : field) {
    if (!entry.is_string()) {
      Fail(absl::StatusCode::kFailedPrecondition, key, "is no list of strings");
      break;
    }
    values.push_back(entry.get<std::string>());
  }
  return values;
}

}  // namespace tessera::shard_loader
