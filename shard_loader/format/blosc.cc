#include <blosc.h>

#include "absl/strings/str_cat.h"
#include "shard_loader/format/decompress.h"

namespace tessera::shard_loader {

absl::Status DecompressBlosc(absl::Span<const std::byte> compressed, absl::Span<std::byte> out,
                             const std::string& file) {
  size_t size = 0;
  const bool is_whole = compressed.size() >= BLOSC_MIN_HEADER_LENGTH &&
                        blosc_cbuffer_validate(compressed.data(), compressed.size(), &size) == 0 &&
                        size == out.size();
  // One thread: the loader's own threads are what reads in parallel.
  if (is_whole && (out.empty() || blosc_decompress_ctx(compressed.data(), out.data(), out.size(),
                                                       1) == static_cast<int>(out.size()))) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("shard_loader: ", file,
                                          ": a blosc buffer does not inflate to the ", out.size(),
                                          " bytes that it should have; the file is corrupt"));
}

}  // namespace tessera::shard_loader
