#include "shard_loader/format/zarr.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

constexpr int64_t kMostElements = int64_t{1} << 46;
constexpr int64_t kMostChunks = int64_t{1} << 20;  // of one array

struct TypeName {
  std::string_view name;
  StoredType type;
};

// "bfloat16" is TensorStore's own.
constexpr TypeName kTypes[] = {
    {"<f8", StoredType::kF64}, {"<f4", StoredType::kF32},      {"<f2", StoredType::kF16},
    {"<i8", StoredType::kI64}, {"<i4", StoredType::kI32},      {"<i2", StoredType::kI16},
    {"|i1", StoredType::kI8},  {"<u8", StoredType::kU64},      {"<u4", StoredType::kU32},
    {"<u2", StoredType::kU16}, {"|u1", StoredType::kU8},       {"|b1", StoredType::kBool},
    {"<i1", StoredType::kI8},  {"bfloat16", StoredType::kBF16}};

struct CompressorName {
  std::string_view id;
  Codec codec;
};

constexpr CompressorName kCompressors[] = {{"gzip", Codec::kZlib},
                                           {"zlib", Codec::kZlib},
                                           {"zstd", Codec::kZstd},
                                           {"blosc", Codec::kBlosc}};

class Reader {
 public:
  Reader(const json& document, const std::string& file) : document_(document), file_(file) {}

  absl::StatusOr<ZarrArray> Read() {
    if (At("zarr_format") != 2) return Refuse("zarr_format", "2");
    ZarrArray array;
    RETURN_IF_ERROR(TakeSizes("shape", &array.shape));
    RETURN_IF_ERROR(TakeSizes("chunks", &array.chunk_shape));
    int64_t elements = 0;
    const bool is_array = array.shape.size() == array.chunk_shape.size() &&
                          CountElements(array.shape, kMostElements, &elements) &&
                          CountElements(array.chunk_shape, kMostElements, &elements) &&
                          elements > 0 && FewEnough(array);
    if (!is_array) return Corrupt("shape and chunks are those of no array");
    RETURN_IF_ERROR(TakeType(&array));
    RETURN_IF_ERROR(TakeCompressor(&array));
    const json& order = At("order");
    if (order != "C" && order != "F") return Corrupt("order is neither C nor F");
    array.column_major = order == "F";
    const json& separator = At("dimension_separator");
    if (!separator.is_null() && separator != "." && separator != "/") {
      return Corrupt("dimension_separator is neither a dot nor a slash");
    }
    array.separator = separator == "/" ? '/' : '.';
    return array;
  }

 private:
  const json& At(const char* key) const {
    static const json& none = *new json;
    const auto found = document_.find(key);
    return found == document_.end() ? none : *found;
  }

  absl::Status Corrupt(std::string_view what) const {
    return absl::DataLossError(
        absl::StrCat("shard_loader: ", file_, ": ", std::string(what), "; the file is corrupt"));
  }

  absl::Status Refuse(const char* key, std::string_view supported) const {
    return absl::UnimplementedError(absl::StrCat("shard_loader: ", file_, ": ", key, " is ",
                                                 Excerpt(At(key).dump()), ", supported are ",
                                                 std::string(supported)));
  }

  absl::Status TakeSizes(const char* key, std::vector<int64_t>* sizes) const {
    const json& list = At(key);
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

  static bool FewEnough(const ZarrArray& array) {
    int64_t chunks = 1;
    for (const int64_t count : array.ChunkCounts()) {
      if (count > kMostChunks / std::max<int64_t>(chunks, 1)) return false;
      chunks *= count;
    }
    return true;
  }

  absl::Status TakeType(ZarrArray* array) const {
    const json& type = At("dtype");
    if (type.is_string()) {
      for (const TypeName& known : kTypes) {
        if (type.get_ref<const std::string&>() != known.name) continue;
        array->type = known.type;
        return absl::OkStatus();
      }
    }
    return Refuse("dtype", "little-endian numbers and bfloat16");
  }

  absl::Status TakeCompressor(ZarrArray* array) const {
    const json& filters = At("filters");
    if (!filters.is_null() && !filters.empty()) return Refuse("filters", "none");
    const json& compressor = At("compressor");
    if (compressor.is_null()) return absl::OkStatus();
    const auto id = compressor.is_object() ? compressor.find("id") : compressor.end();
    if (compressor.is_object() && id != compressor.end() && id->is_string()) {
      for (const CompressorName& known : kCompressors) {
        if (id->get_ref<const std::string&>() != known.id) continue;
        array->codec = known.codec;
        return absl::OkStatus();
      }
    }
    return Refuse("compressor", "gzip, zlib, zstd and blosc");
  }

  const json& document_;
  const std::string& file_;
};

}  // namespace

std::vector<int64_t> ZarrArray::ChunkCounts() const {
  std::vector<int64_t> counts;
  for (size_t i = 0; i < shape.size(); ++i) {
    counts.push_back((shape[i] + chunk_shape[i] - 1) / chunk_shape[i]);
  }
  return counts;
}

std::string ZarrArray::ChunkName(const std::vector<int64_t>& chunk) const {
  return chunk.empty() ? "0" : absl::StrJoin(chunk, absl::string_view(&separator, 1));
}

absl::StatusOr<ZarrArray> ParseZarrArray(std::string_view text, const std::string& file) {
  ASSIGN_OR_RETURN(const json document, ParseJsonObject(text, file));
  return Reader(document, file).Read();
}

}  // namespace tessera::shard_loader
