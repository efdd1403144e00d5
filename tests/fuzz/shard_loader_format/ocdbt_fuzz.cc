// Any bytes as every file of an OCDBT database, without the checksums that would hide the rest: the
// last four bytes of each read are made to fit. Files that it names lie inside of its folder.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "shard_loader/format/crc32c.h"
#include "shard_loader/format/ocdbt.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::shard_loader;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto values = ReadOcdbt(
      [&](const std::string& file, const ByteRange& range) -> absl::StatusOr<std::string> {
        if (file.starts_with('/') || file.find("..") == 0) std::abort();
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
