// zlib, with its errors as Status.
#ifndef TESSERA_SHARD_LOADER_FORMAT_INFLATE_H_
#define TESSERA_SHARD_LOADER_FORMAT_INFLATE_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tessera::shard_loader {

// Raw deflate data (RFC 1951), as zip records hold it. DATA_LOSS: corrupt, or it does not inflate
// to exactly the size of `out`; no more than that is ever written. `file` begins the message.
absl::Status InflateRaw(absl::Span<const std::byte> compressed, absl::Span<std::byte> out,
                        const std::string& file);

// The same for data with a header of zlib (RFC 1950) or gzip (RFC 1952), whichever is there.
absl::Status InflateWrapped(absl::Span<const std::byte> compressed, absl::Span<std::byte> out,
                            const std::string& file);

// The first bytes that raw data inflates to: as many as `out` has, or as there are; their number.
// DATA_LOSS: corrupt.
absl::StatusOr<size_t> InflateFront(absl::Span<const std::byte> compressed,
                                    absl::Span<std::byte> out, const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_INFLATE_H_
