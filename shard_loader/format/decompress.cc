#include "shard_loader/format/decompress.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "shard_loader/format/inflate.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

// The filter writes byte 0 of every element, then byte 1 of every element and so on; what is left
// behind the last whole element stays as it is (HDF5: H5Zshuffle.c).
absl::Status InflateShuffled(size_t element_bytes, absl::Span<const std::byte> compressed,
                             absl::Span<std::byte> out, const std::string& file) {
  std::vector<std::byte> shuffled(out.size());
  RETURN_IF_ERROR(InflateWrapped(compressed, absl::MakeSpan(shuffled), file));
  const size_t elements = out.size() / element_bytes;
  for (size_t i = 0; i < element_bytes; ++i) {
    for (size_t j = 0; j < elements; ++j) {
      out[j * element_bytes + i] = shuffled[i * elements + j];
    }
  }
  for (size_t i = elements * element_bytes; i < out.size(); ++i) out[i] = shuffled[i];
  return absl::OkStatus();
}

}  // namespace

absl::Status Decompress(const RecordShape& shape, absl::Span<const std::byte> compressed,
                        absl::Span<std::byte> out, const std::string& file) {
  switch (shape.codec) {
    case Codec::kDeflate:
      return InflateRaw(compressed, out, file);
    case Codec::kZlib:
      return InflateWrapped(compressed, out, file);
    case Codec::kShuffledZlib:
      return InflateShuffled(shape.element_bytes, compressed, out, file);
    case Codec::kZstd:
      return DecompressZstd(compressed, out, file);
    case Codec::kBlosc:
      return DecompressBlosc(compressed, out, file);
    case Codec::kNone:
      break;
  }
  return absl::InternalError(absl::StrCat("shard_loader: ", file, ": nothing to inflate"));
}

bool MayInflateTo(uint64_t compressed, uint64_t inflated) {
  constexpr uint64_t kMostRatio = 1100;  // deflate's is 1032
  constexpr uint64_t kSmall = 1 << 16;
  return inflated <= kSmall || inflated / kMostRatio <= compressed;
}

}  // namespace tessera::shard_loader
