// Reading the fields of a component of tokenizer.json.
#ifndef TESSERA_SERVER_TEXT_JSON_FIELDS_H_
#define TESSERA_SERVER_TEXT_JSON_FIELDS_H_

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/text/text_pattern.h"

namespace tessera::server {

inline constexpr int kMaxComponentDepth = 32;  // Sequences inside Sequences

// The value of "type"; INVALID_ARGUMENT naming `what` where spec is no object or has no type.
absl::StatusOr<std::string> TypeOf(const nlohmann::json& spec, const char* what);

// A missing or null field gives the default; one of another type is INVALID_ARGUMENT.
absl::StatusOr<bool> BoolField(const nlohmann::json& spec, const char* name, bool fallback);
absl::StatusOr<std::string> StringField(const nlohmann::json& spec, const char* name,
                                        std::optional<std::string> fallback = std::nullopt);
absl::StatusOr<uint64_t> NumberField(const nlohmann::json& spec, const char* name,
                                     std::optional<uint64_t> fallback = std::nullopt);
absl::StatusOr<const nlohmann::json*> ArrayField(const nlohmann::json& spec, const char* name);
// A field that is a string of exactly one character.
absl::StatusOr<char32_t> CharField(const nlohmann::json& spec, const char* name,
                                   std::optional<char32_t> fallback = std::nullopt);
// "pattern": {"String": ...} or {"Regex": ...}.
absl::StatusOr<TextPattern> PatternField(const nlohmann::json& spec);

}  // namespace tessera::server

#endif  // TESSERA_SERVER_TEXT_JSON_FIELDS_H_
