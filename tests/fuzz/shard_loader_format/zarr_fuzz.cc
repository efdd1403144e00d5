// Any bytes as the metadata of a zarr array, of version 2 or 3, and as the index of its shards. The
// name of its last chunk can be made.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shard_loader/format/zarr.h"

namespace {

using namespace tessera::shard_loader;

void Use(const ZarrArray& array, std::string_view bytes) {
  std::vector<int64_t> last = array.ChunkCounts();
  for (int64_t& number : last) {
    if (number < 0) std::abort();
    --number;
  }
  if (array.ChunkName(last).empty()) std::abort();
  if (array.inner_shape.empty()) return;
  // The metadata's own end is as good an index as any.
  if (array.IndexBytes() > bytes.size()) return;
  const auto places =
      ReadShardIndex(array, bytes.substr(bytes.size() - array.IndexBytes()), bytes.size(), "shard");
  if (!places.ok()) return;
  for (const ByteRange& place : *places) {
    if (place.bytes > bytes.size() || place.offset > bytes.size() - place.bytes) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto array = ParseZarrArray(bytes, ".zarray"); array.ok()) Use(*array, bytes);
  const auto array3 = ParseZarr3Array(bytes, "zarr.json");
  if (array3.ok() && array3->has_value()) Use(**array3, bytes);
  return 0;
}
