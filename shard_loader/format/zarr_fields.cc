#include "shard_loader/format/zarr_fields.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "shard_loader/model/strict_json.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

constexpr int64_t kMostElements = int64_t{1} << 46;
constexpr int64_t kMostChunks = int64_t{1} << 20;  // of one array

struct CompressorName {
  std::string_view id;
  Codec codec;
};

constexpr CompressorName kCompressors[] = {{"gzip", Codec::kZlib},
                                           {"zlib", Codec::kZlib},
                                           {"zstd", Codec::kZstd},
                                           {"blosc", Codec::kBlosc}};

bool FewEnough(const std::vector<int64_t>& counts) {
  int64_t chunks = 1;
  for (const int64_t count : counts) {
    if (count > kMostChunks / std::max<int64_t>(chunks, 1)) return false;
    chunks *= count;
  }
  return true;
}

}  // namespace

const json& ZarrFields::At(const json& object, const char* key) {
  static const json& none = *new json;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

absl::Status ZarrFields::Corrupt(std::string_view what) const {
  return absl::DataLossError(
      absl::StrCat("shard_loader: ", file_, ": ", std::string(what), "; the file is corrupt"));
}

absl::Status ZarrFields::Refuse(const char* key, const json& value,
                                std::string_view supported) const {
  return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_, ": ", key, " is ",
                                               Excerpt(value.dump()), ", supported are ",
                                               std::string(supported)));
}

absl::Status ZarrFields::TakeSizes(const char* key, const json& list,
                                   std::vector<int64_t>* sizes) const {
  if (!list.is_array() || list.size() > kMaxDimensions) {
    return Corrupt(absl::StrCat(key, " is no list of sizes"));
  }
  for (const json& size : list) {
    if (!size.is_number_integer() || size < 0 || size > kMostElements) {
      return Corrupt(absl::StrCat(key, " holds what is no size"));
    }
    sizes->push_back(size.get<int64_t>());
  }
  return absl::OkStatus();
}

absl::Status ZarrFields::TakeType(const char* key, const json& value,
                                  absl::Span<const ZarrTypeName> names, std::string_view supported,
                                  StoredType* type) const {
  for (const ZarrTypeName& known : names) {
    if (!value.is_string() || value.get_ref<const std::string&>() != known.name) continue;
    *type = known.type;
    return absl::OkStatus();
  }
  return Refuse(key, value, supported);
}

absl::Status ZarrFields::CheckShapes(const ZarrArray& array) const {
  int64_t elements = 0;
  const bool is_array = array.shape.size() == array.chunk_shape.size() &&
                        CountElements(array.shape, kMostElements, &elements) &&
                        CountElements(array.chunk_shape, kMostElements, &elements) &&
                        elements > 0 && FewEnough(array.ChunkCounts());
  if (is_array) return absl::OkStatus();
  return Corrupt("shape and chunks are those of no array");
}

Codec ZarrCodec(std::string_view name) {
  for (const CompressorName& known : kCompressors) {
    if (name == known.id) return known.codec;
  }
  return Codec::kNone;
}

}  // namespace tessera::shard_loader
