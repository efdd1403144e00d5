// JSON from outside, parsed within limits: a hostile file costs an error, not the process.
#ifndef TESSERA_SHARD_LOADER_MODEL_STRICT_JSON_H_
#define TESSERA_SHARD_LOADER_MODEL_STRICT_JSON_H_

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"

namespace tessera::shard_loader {

struct JsonLimits {
  size_t max_bytes = 4 << 20;
  int max_depth = 32;              // nested objects and arrays
  bool refuse_duplicates = false;  // else the last of two equal keys counts, as in Python
};

// An object (anything else is refused). DATA_LOSS: no JSON, invalid UTF-8, a number outside of the
// range of a double, too deep or too large; the message begins with `file`.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view bytes, const std::string& file,
                                               const JsonLimits& limits = {});

// `text` for a message: control bytes and what is not ASCII replaced, cut after 60 characters.
std::string Excerpt(std::string_view text);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_STRICT_JSON_H_
