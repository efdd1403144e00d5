// Any bytes as every file of an OCDBT database, without the checksums that would hide the rest: the
// last four bytes of each read are made to fit. Files that it names lie inside of its folder.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "shard_loader/format/crc32c.h"
#include "shard_loader/format/ocdbt.h"

namespace {

// A file of the folder or of one below it.
bool IsInside(std::string_view file) {
  if (file.starts_with('/')) return false;
  for (size_t at = 0; at <= file.size();) {
    const size_t end = std::min(file.find('/', at), file.size());
    if (file.substr(at, end - at) == "..") return false;
    at = end + 1;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto values = ReadOcdbt(
      [&](const std::string& file, const ByteRange& range) -> absl::StatusOr<std::string> {
        if (!IsInside(file)) std::abort();
        const uint64_t offset = range.bytes == UINT64_MAX ? 0 : range.offset;
        const uint64_t length = range.bytes == UINT64_MAX ? size : range.bytes;
        if (offset > size || length > size - offset) return absl::DataLossError("past the end");
        std::string part(bytes.substr(offset, length));
        if (part.size() < 16) return part;
        const uint64_t all = part.size();
        std::memcpy(part.data() + 4, &all, sizeof(all));
        const uint32_t checksum = Crc32c(std::string_view(part).substr(0, part.size() - 4));
        std::memcpy(part.data() + part.size() - 4, &checksum, sizeof(checksum));
        return part;
      });
  (void)values;
  return 0;
}
