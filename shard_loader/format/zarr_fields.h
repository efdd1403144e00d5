// Fields that the metadata of zarr 2 and zarr 3 have in common.
#ifndef TESSERA_SHARD_LOADER_FORMAT_ZARR_FIELDS_H_
#define TESSERA_SHARD_LOADER_FORMAT_ZARR_FIELDS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "shard_loader/format/zarr.h"

namespace tessera::shard_loader {

struct ZarrTypeName {
  std::string_view name;
  StoredType type;
};

// Reads fields of `document`, the text of `file`. Borrows both.
class ZarrFields {
 public:
  ZarrFields(const nlohmann::json& document, const std::string& file)
      : document_(document), file_(file) {}

  // Null where it is missing.
  const nlohmann::json& At(const char* key) const { return At(document_, key); }
  static const nlohmann::json& At(const nlohmann::json& object, const char* key);

  absl::Status Corrupt(std::string_view what) const;
  // UNIMPLEMENTED: `value` stands under `key`, and only what `supported` lists is read.
  absl::Status Refuse(const char* key, const nlohmann::json& value,
                      std::string_view supported) const;
  absl::Status TakeSizes(const char* key, const nlohmann::json& list,
                         std::vector<int64_t>* sizes) const;
  // UNIMPLEMENTED, with what is `supported`, where `value`, under `key`, is none of the names.
  absl::Status TakeType(const char* key, const nlohmann::json& value,
                        absl::Span<const ZarrTypeName> names, std::string_view supported,
                        StoredType* type) const;
  // DATA_LOSS unless the shapes are those of an array of few enough chunks.
  absl::Status CheckShapes(const ZarrArray& array) const;

 private:
  const nlohmann::json& document_;
  const std::string& file_;
};

// The codec of a compressor's name; kNone where it is none that is read.
Codec ZarrCodec(std::string_view name);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_ZARR_FIELDS_H_
