// Sizes as people write them.
#ifndef TESSERA_SHARD_LOADER_PLAN_BYTE_SIZE_H_
#define TESSERA_SHARD_LOADER_PLAN_BYTE_SIZE_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace tessera::shard_loader {

// "4GiB", "4Gi", "4G", "1.5 GB", "65536": a number of bytes, or of K, M, G or T: of 1000 where a
// plain B follows, else of 1024. Nothing where it is none, less than a byte, or more than 4 PiB.
std::optional<int64_t> ParseBytes(absl::string_view text);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_PLAN_BYTE_SIZE_H_
