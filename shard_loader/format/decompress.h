// Compressed records of every codec, inflated to a size that is known beforehand.
#ifndef TESSERA_SHARD_LOADER_FORMAT_DECOMPRESS_H_
#define TESSERA_SHARD_LOADER_FORMAT_DECOMPRESS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "shard_loader/format/tensor_index.h"

namespace tessera::shard_loader {

struct RecordShape {
  Codec codec = Codec::kNone;
  size_t element_bytes = 1;  // of kShuffledZlib
};

// DATA_LOSS: corrupt, or it does not inflate to exactly the size of `out`; no more than that is
// ever written. UNIMPLEMENTED: this build lacks the codec's library. `file` begins the message.
absl::Status Decompress(const RecordShape& shape, absl::Span<const std::byte> compressed,
                        absl::Span<std::byte> out, const std::string& file);

// Whether a header may claim that `compressed` bytes inflate to `inflated`: by how much the codecs
// can shrink weights, with room. It keeps a few bytes of header from asking for all memory.
bool MayInflateTo(uint64_t compressed, uint64_t inflated);

// Defined by zstd.cc and blosc.cc, or by the files that stand for them where they are missing.
absl::Status DecompressZstd(absl::Span<const std::byte> compressed, absl::Span<std::byte> out,
                            const std::string& file);
// A zstd frame whose size is not known; at most `most` bytes, and no more than MayInflateTo allows.
absl::StatusOr<std::string> InflateZstd(std::string_view compressed, uint64_t most,
                                        const std::string& file);
absl::Status DecompressBlosc(absl::Span<const std::byte> compressed, absl::Span<std::byte> out,
                             const std::string& file);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_DECOMPRESS_H_
