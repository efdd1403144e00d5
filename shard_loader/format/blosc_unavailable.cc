// Stands for blosc.cc where the library is missing.
#include "absl/strings/str_cat.h"
#include "shard_loader/format/decompress.h"

namespace tessera::shard_loader {

absl::Status DecompressBlosc(absl::Span<const std::byte>, absl::Span<std::byte>,
                             const std::string& file) {
  return absl::UnimplementedError(absl::StrCat(
      "shard_loader: ", file, ": is compressed with blosc, and this build has no libblosc"));
}

}  // namespace tessera::shard_loader
