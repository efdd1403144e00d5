// Any bytes as the metadata of a zarr array. The name of its last chunk can be made.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "shard_loader/format/zarr.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto array = ParseZarrArray(bytes, ".zarray");
  if (!array.ok()) return 0;
  std::vector<int64_t> last = array->ChunkCounts();
  for (int64_t& number : last) {
    if (number < 0) std::abort();
    --number;
  }
  if (array->ChunkName(last).empty()) std::abort();
  return 0;
}
