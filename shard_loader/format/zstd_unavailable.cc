// Stands for zstd.cc where the library is missing.
#include "absl/strings/str_cat.h"
#include "shard_loader/format/decompress.h"

namespace tessera::shard_loader {

namespace {

absl::Status Missing(const std::string& file) {
  return absl::UnimplementedError(absl::StrCat(
      "shard_loader: ", file, ": is compressed with zstd, and this build has no libzstd"));
}

}  // namespace

absl::Status DecompressZstd(absl::Span<const std::byte>, absl::Span<std::byte>,
                            const std::string& file) {
  return Missing(file);
}

absl::StatusOr<std::string> InflateZstd(std::string_view, uint64_t, const std::string& file) {
  return Missing(file);
}

}  // namespace tessera::shard_loader
