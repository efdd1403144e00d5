#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/format/crc32c.h"
#include "shard_loader/format/zarr.h"
#include "shard_loader/format/zarr_fields.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

constexpr uint64_t kChecksumBytes = 4;
constexpr uint64_t kEntryBytes = 16;  // of a shard's index: offset and size of a chunk
constexpr const char* kReadCodecs =
    "transpose (of all dimensions), bytes (little-endian), gzip, zstd, blosc, crc32c and "
    "sharding_indexed as the only one";

constexpr ZarrTypeName kTypes[] = {
    {"float64", StoredType::kF64},   {"float32", StoredType::kF32}, {"float16", StoredType::kF16},
    {"bfloat16", StoredType::kBF16}, {"int64", StoredType::kI64},   {"int32", StoredType::kI32},
    {"int16", StoredType::kI16},     {"int8", StoredType::kI8},     {"uint64", StoredType::kU64},
    {"uint32", StoredType::kU32},    {"uint16", StoredType::kU16},  {"uint8", StoredType::kU8},
    {"bool", StoredType::kBool}};

class Reader : private ZarrFields {
 public:
  using ZarrFields::ZarrFields;

  absl::StatusOr<std::optional<ZarrArray>> Read() const {
    if (At("zarr_format") != 3) return Refuse("zarr_format", At("zarr_format"), "3");
    if (At("node_type") == "group") return std::nullopt;
    if (At("node_type") != "array") return Corrupt("node_type is neither array nor group");
    ZarrArray array;
    RETURN_IF_ERROR(TakeSizes("shape", At("shape"), &array.shape));
    const json& grid = At("chunk_grid");
    if (At(grid, "name") != "regular") return Refuse("chunk_grid", grid, "regular ones");
    RETURN_IF_ERROR(
        TakeSizes("chunk_shape", At(At(grid, "configuration"), "chunk_shape"), &array.chunk_shape));
    RETURN_IF_ERROR(CheckShapes(array));
    RETURN_IF_ERROR(TakeType("data_type", At("data_type"), kTypes,
                             "numbers of 8 to 64 bits and bfloat16", &array.type));
    RETURN_IF_ERROR(TakeNames(&array));
    const json& transformers = At("storage_transformers");
    if (!transformers.is_null() && !transformers.empty()) {
      return Refuse("storage_transformers", transformers, "none");
    }
    RETURN_IF_ERROR(TakeCodecs(At("codecs"), false, &array));
    return array;
  }

 private:
  absl::Status TakeNames(ZarrArray* array) const {
    const json& encoding = At("chunk_key_encoding");
    const json& name = At(encoding, "name");
    if (name != "default" && name != "v2") {
      return Refuse("chunk_key_encoding", encoding, "default and v2");
    }
    const json& separator = At(At(encoding, "configuration"), "separator");
    if (!separator.is_null() && separator != "." && separator != "/") {
      return Corrupt("the separator of chunk_key_encoding is neither a dot nor a slash");
    }
    const bool slash = separator.is_null() ? name == "default" : separator == "/";
    array->separator = slash ? '/' : '.';
    array->has_prefix = name == "default";
    return absl::OkStatus();
  }

  absl::Status TakeCodecs(const json& codecs, bool inside, ZarrArray* array) const {
    if (!codecs.is_array() || codecs.empty()) return Corrupt("codecs is no list");
    bool has_bytes = false;
    for (const json& codec : codecs) {
      const json& name = At(codec, "name");
      const json& configuration = At(codec, "configuration");
      const Codec compressor =
          name.is_string() ? ZarrCodec(name.get_ref<const std::string&>()) : Codec::kNone;
      const bool plain = array->codec == Codec::kNone && array->checksum_bytes == 0;
      if (name == "sharding_indexed" && !inside && codecs.size() == 1) {
        return TakeShards(configuration, array);
      }
      if (name == "transpose" && !has_bytes) {
        RETURN_IF_ERROR(TakeOrder(At(configuration, "order"), array));
      } else if (name == "bytes" && !has_bytes) {
        const json& endian = At(configuration, "endian");
        if (!endian.is_null() && endian != "little") return Refuse("endian", endian, "little");
        has_bytes = true;
      } else if (compressor != Codec::kNone && has_bytes && plain) {
        array->codec = compressor;
      } else if (name == "crc32c" && has_bytes && array->checksum_bytes == 0) {
        array->checksum_bytes = kChecksumBytes;
      } else {
        return Refuse("codecs", codecs, kReadCodecs);
      }
    }
    return has_bytes ? absl::OkStatus() : Refuse("codecs", codecs, kReadCodecs);
  }

  // Dimension i of what is stored is order[i] of the array: as they are, or turned round.
  absl::Status TakeOrder(const json& order, ZarrArray* array) const {
    std::vector<int64_t> numbers;
    if (order == "C" || order == "F") {  // of early drafts
      array->column_major = order == "F";
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(TakeSizes("order", order, &numbers));
    std::vector<int64_t> same(array->shape.size());
    for (size_t i = 0; i < same.size(); ++i) same[i] = static_cast<int64_t>(i);
    const std::vector<int64_t> turned(same.rbegin(), same.rend());
    if (numbers != same && numbers != turned) {
      return Refuse("order", order, "all dimensions as they are, or turned round");
    }
    array->column_major = numbers != same;
    return absl::OkStatus();
  }

  absl::Status TakeShards(const json& configuration, ZarrArray* array) const {
    RETURN_IF_ERROR(
        TakeSizes("chunk_shape", At(configuration, "chunk_shape"), &array->inner_shape));
    ZarrArray shard;
    shard.shape = array->chunk_shape;
    shard.chunk_shape = array->inner_shape;
    RETURN_IF_ERROR(CheckShapes(shard));
    for (size_t i = 0; i < array->inner_shape.size(); ++i) {
      if (array->chunk_shape[i] % array->inner_shape[i] == 0) continue;
      return Corrupt("chunks do not divide their shard");
    }
    const json& place = At(configuration, "index_location");
    if (!place.is_null() && place != "start" && place != "end") {
      return Corrupt("index_location is neither start nor end");
    }
    array->index_first = place == "start";
    RETURN_IF_ERROR(TakeIndexCodecs(At(configuration, "index_codecs"), array));
    return TakeCodecs(At(configuration, "codecs"), true, array);
  }

  absl::Status TakeIndexCodecs(const json& codecs, ZarrArray* array) const {
    ZarrArray index;
    index.shape = {1};
    RETURN_IF_ERROR(TakeCodecs(codecs, true, &index));
    if (index.codec != Codec::kNone) return Refuse("index_codecs", codecs, "bytes and crc32c");
    array->index_checksum = index.checksum_bytes > 0;
    return absl::OkStatus();
  }
};

template <typename T>
T Load(const char* bytes) {
  T value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

}  // namespace

uint64_t ZarrArray::IndexBytes() const {
  uint64_t chunks = 1;
  for (const int64_t count : InnerCounts()) chunks *= static_cast<uint64_t>(count);
  return chunks * kEntryBytes + (index_checksum ? kChecksumBytes : 0);
}

absl::StatusOr<std::optional<ZarrArray>> ParseZarr3Array(std::string_view text,
                                                         const std::string& file) {
  ASSIGN_OR_RETURN(const json document, ParseJsonObject(text, file));
  return Reader(document, file).Read();
}

absl::StatusOr<std::vector<ByteRange>> ReadShardIndex(const ZarrArray& array,
                                                      std::string_view index, uint64_t shard_bytes,
                                                      const std::string& file) {
  const auto corrupt = [&](std::string_view what) {
    return absl::DataLossError(absl::StrCat("shard_loader: ", file, ": the index of the shard ",
                                            std::string(what), "; the file is corrupt"));
  };
  if (index.size() != array.IndexBytes()) return corrupt("is cut off");
  const size_t entries = index.size() - (array.index_checksum ? kChecksumBytes : 0);
  if (array.index_checksum &&
      Crc32c(index.substr(0, entries)) != Load<uint32_t>(index.data() + entries)) {
    return corrupt("has another checksum than it should");
  }
  std::vector<ByteRange> chunks;
  for (size_t at = 0; at < entries; at += kEntryBytes) {
    const auto offset = Load<uint64_t>(index.data() + at);
    const auto bytes = Load<uint64_t>(index.data() + at + sizeof(uint64_t));
    if (offset == UINT64_MAX && bytes == UINT64_MAX) {
      chunks.push_back({});
      continue;
    }
    if (bytes == 0 || !Within(offset, bytes, shard_bytes)) {
      return corrupt("names a chunk that ends past the end of the shard");
    }
    chunks.push_back({offset, bytes});
  }
  return chunks;
}

}  // namespace tessera::shard_loader
