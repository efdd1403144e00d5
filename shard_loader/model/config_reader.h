// Typed, bounded reading of the fields of a configuration file.
#ifndef TESSERA_SHARD_LOADER_MODEL_CONFIG_READER_H_
#define TESSERA_SHARD_LOADER_MODEL_CONFIG_READER_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"

namespace tessera::shard_loader {

struct IntegerBounds {
  int64_t least = 0;
  int64_t most = 0;
};

struct NumberBounds {
  double least = 0;
  double most = 0;
};

// Reads one object; the first error stays in status() and later reads go on with harmless values,
// so that a family's table needs one check at its end. A field that is null counts as absent.
// Thread-compatible; `object` must outlive it.
class ConfigReader {
 public:
  // `file` begins the messages; `path` ("rope_scaling.") stands before the names of fields.
  ConfigReader(const nlohmann::json& object, std::string file, std::string path = "")
      : object_(object), file_(std::move(file)), path_(std::move(path)) {}

  bool Has(const std::string& key) const;
  // Also true for a field that is null.
  bool Contains(const std::string& key) const { return object_.contains(key); }
  // The first of `keys` that is there, or else the first: a field that changed its name.
  std::string Key(std::initializer_list<const char*> keys) const;
  // The field, or null where it is absent.
  const nlohmann::json& Get(const std::string& key) const;

  // Without a fallback an absent field is an error. FAILED_PRECONDITION: wrong type, out of bounds.
  int64_t Integer(const std::string& key, IntegerBounds bounds,
                  std::optional<int64_t> fallback = std::nullopt);
  double Number(const std::string& key, NumberBounds bounds,
                std::optional<double> fallback = std::nullopt);
  bool Bool(const std::string& key, bool fallback);
  std::string String(const std::string& key, const std::string& fallback);
  // One integer or a list of them (as eos_token_id is); absent: empty.
  std::vector<int64_t> IntegerOrList(const std::string& key, IntegerBounds bounds);
  // Absent: empty.
  std::vector<double> NumberList(const std::string& key, NumberBounds bounds);
  // Absent: empty.
  std::vector<std::string> StringList(const std::string& key);

  void Fail(absl::StatusCode code, const std::string& key, const std::string& problem);
  // Takes over an error of a reader of a nested object.
  void Adopt(const absl::Status& status);

  const absl::Status& status() const { return status_; }
  const std::string& file() const { return file_; }

 private:
  std::optional<int64_t> AsInteger(const nlohmann::json& value, const std::string& key,
                                   IntegerBounds bounds);

  const nlohmann::json& object_;
  std::string file_;
  std::string path_;
  absl::Status status_;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_MODEL_CONFIG_READER_H_
