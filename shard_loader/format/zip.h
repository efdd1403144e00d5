// The directory of a zip archive (PKWARE APPNOTE.TXT 6.3), with 64-bit sizes. Strict: one disk, no
// encryption, records that do not overlap, local headers that agree with the directory.
#ifndef TESSERA_SHARD_LOADER_FORMAT_ZIP_H_
#define TESSERA_SHARD_LOADER_FORMAT_ZIP_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "shard_loader/format/byte_source.h"

namespace tessera::shard_loader {

struct ZipRecord {
  std::string name;
  bool deflated = false;  // else stored
  uint64_t offset = 0;    // of the data, in the file
  uint64_t stored_bytes = 0;
  uint64_t bytes = 0;  // once inflated
};

// In the order of the directory. DATA_LOSS: no zip archive, or a corrupt one. UNIMPLEMENTED:
// encryption, a compression other than deflate, several disks.
absl::StatusOr<std::vector<ZipRecord>> ReadZipDirectory(const ByteSource& file);

// Whether the first bytes are those of a zip archive.
bool LooksLikeZip(std::string_view front);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_ZIP_H_
