#include "shard_loader/format/zarr.h"

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "shard_loader/format/zarr_fields.h"
#include "shard_loader/model/strict_json.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

using nlohmann::json;

// "bfloat16" is TensorStore's own.
constexpr ZarrTypeName kTypes[] = {
    {"<f8", StoredType::kF64}, {"<f4", StoredType::kF32},      {"<f2", StoredType::kF16},
    {"<i8", StoredType::kI64}, {"<i4", StoredType::kI32},      {"<i2", StoredType::kI16},
    {"|i1", StoredType::kI8},  {"<u8", StoredType::kU64},      {"<u4", StoredType::kU32},
    {"<u2", StoredType::kU16}, {"|u1", StoredType::kU8},       {"|b1", StoredType::kBool},
    {"<i1", StoredType::kI8},  {"bfloat16", StoredType::kBF16}};

class Reader : private ZarrFields {
 public:
  using ZarrFields::ZarrFields;

  absl::StatusOr<ZarrArray> Read() const {
    if (At("zarr_format") != 2) return Refuse("zarr_format", At("zarr_format"), "2");
    ZarrArray array;
    RETURN_IF_ERROR(TakeSizes("shape", At("shape"), &array.shape));
    RETURN_IF_ERROR(TakeSizes("chunks", At("chunks"), &array.chunk_shape));
    RETURN_IF_ERROR(CheckShapes(array));
    RETURN_IF_ERROR(
        TakeType("dtype", At("dtype"), kTypes, "little-endian numbers and bfloat16", &array.type));
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
  absl::Status TakeCompressor(ZarrArray* array) const {
    const json& filters = At("filters");
    if (!filters.is_null() && !filters.empty()) return Refuse("filters", filters, "none");
    const json& compressor = At("compressor");
    if (compressor.is_null()) return absl::OkStatus();
    const json& id = At(compressor, "id");
    if (id.is_string()) array->codec = ZarrCodec(id.get_ref<const std::string&>());
    if (array->codec != Codec::kNone) return absl::OkStatus();
    return Refuse("compressor", compressor, "gzip, zlib, zstd and blosc");
  }
};

std::vector<int64_t> Counts(const std::vector<int64_t>& whole, const std::vector<int64_t>& part) {
  std::vector<int64_t> counts;
  for (size_t i = 0; i < whole.size(); ++i) counts.push_back((whole[i] + part[i] - 1) / part[i]);
  return counts;
}

}  // namespace

std::vector<int64_t> ZarrArray::ChunkCounts() const { return Counts(shape, chunk_shape); }

std::vector<int64_t> ZarrArray::InnerCounts() const { return Counts(chunk_shape, inner_shape); }

std::string ZarrArray::ChunkName(const std::vector<int64_t>& chunk) const {
  if (chunk.empty()) return has_prefix ? "c" : "0";
  const std::string numbers = absl::StrJoin(chunk, absl::string_view(&separator, 1));
  return has_prefix ? absl::StrCat("c", absl::string_view(&separator, 1), numbers) : numbers;
}

absl::StatusOr<ZarrArray> ParseZarrArray(std::string_view text, const std::string& file) {
  ASSIGN_OR_RETURN(const json document, ParseJsonObject(text, file));
  return Reader(document, file).Read();
}

}  // namespace tessera::shard_loader
