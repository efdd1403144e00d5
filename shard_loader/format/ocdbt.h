// TensorStore's OCDBT database (tensorstore/kvstore/ocdbt/index.rst, "Storage format"): a B+tree of
// keys and values in a few files, in which Orbax keeps the arrays of a checkpoint.
#ifndef TESSERA_SHARD_LOADER_FORMAT_OCDBT_H_
#define TESSERA_SHARD_LOADER_FORMAT_OCDBT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

struct OcdbtValue {
  std::string file;  // in the database's folder; empty: `inlined` is the value
  ByteRange data;    // in `file`
  std::string inlined;
};

// Reads `range` of a file of the database; of one whose size is not known `range.bytes` is
// UINT64_MAX: to its end. Errors of it are returned as they are.
using OcdbtReader =
    std::function<absl::StatusOr<std::string>(const std::string& file, const ByteRange& range)>;

// The latest version of the database whose manifest.ocdbt `read` finds. Places of values are not
// checked against the sizes of their files. DATA_LOSS: no database, or a corrupt one.
// UNIMPLEMENTED: manifests in numbered files, other compression than zstd.
absl::StatusOr<std::map<std::string, OcdbtValue>> ReadOcdbt(const OcdbtReader& read);

// The name of the file that it begins with.
inline constexpr const char* kOcdbtManifest = "manifest.ocdbt";

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_OCDBT_H_
