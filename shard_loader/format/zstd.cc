#include <zstd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "shard_loader/format/decompress.h"

namespace tessera::shard_loader {

absl::Status DecompressZstd(absl::Span<const std::byte> compressed, absl::Span<std::byte> out,
                            const std::string& file) {
  const size_t size = ZSTD_decompress(out.data(), out.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(size) == 0 && size == out.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "shard_loader: ", file, ": zstd: ",
      ZSTD_isError(size) != 0 ? ZSTD_getErrorName(size) : "fewer bytes than there should be",
      "; the file is corrupt"));
}

absl::StatusOr<std::string> InflateZstd(std::string_view compressed, uint64_t most,
                                        const std::string& file) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                   ZSTD_freeDCtx);
  std::string out;
  std::string part(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer input{compressed.data(), compressed.size(), 0};
  for (size_t left = 1; left != 0;) {
    ZSTD_outBuffer output{part.data(), part.size(), 0};
    const size_t before = input.pos;
    left = ZSTD_decompressStream(context.get(), &output, &input);
    const bool stands_still = output.pos == 0 && input.pos == before;
    out.append(part.data(), output.pos);
    if (ZSTD_isError(left) != 0 || (left != 0 && stands_still) || out.size() > most ||
        !MayInflateTo(compressed.size(), out.size())) {
      return absl::DataLossError(absl::StrCat(
          "shard_loader: ", file, ": zstd: ",
          ZSTD_isError(left) != 0 ? ZSTD_getErrorName(left) : "cut off, or larger than it may be",
          "; the file is corrupt"));
    }
  }
  return out;
}

}  // namespace tessera::shard_loader
