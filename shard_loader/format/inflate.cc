#include "shard_loader/format/inflate.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace tessera::shard_loader {

namespace {

absl::Status Inflate(int window_bits, absl::Span<const std::byte> compressed,
                     absl::Span<std::byte> out, const std::string& file) {
  constexpr size_t kMost = 1 << 30;  // zlib counts in unsigned int
  z_stream stream{};
  if (inflateInit2(&stream, window_bits) != Z_OK) {
    return absl::ResourceExhaustedError(absl::StrCat("shard_loader: ", file, ": zlib: no memory"));
  }
  int result = Z_OK;
  while (result == Z_OK) {
    if (stream.avail_in == 0) {
      const size_t size = std::min(compressed.size(), kMost);
      // zlib does not write to its input, but takes it by a pointer that could.
      stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(compressed.data()));
      stream.avail_in = static_cast<uInt>(size);
      compressed.remove_prefix(size);
    }
    std::byte spare{};  // room that a record of the right size never uses
    const absl::Span<std::byte> room = out.empty() ? absl::MakeSpan(&spare, 1) : out;
    const auto most = static_cast<uInt>(std::min(room.size(), kMost));
    stream.next_out = reinterpret_cast<Bytef*>(room.data());
    stream.avail_out = most;
    result = inflate(&stream, Z_NO_FLUSH);
    const size_t written = most - stream.avail_out;
    if (written > out.size()) result = Z_DATA_ERROR;  // longer than it should be
    out.remove_prefix(std::min(written, out.size()));
  }
  inflateEnd(&stream);
  if (result == Z_STREAM_END && out.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("shard_loader: ", file,
                                          ": a compressed record does not inflate to the size "
                                          "that it should have; the file is corrupt"));
}

}  // namespace

absl::Status InflateRaw(absl::Span<const std::byte> compressed, absl::Span<std::byte> out,
                        const std::string& file) {
  return Inflate(-MAX_WBITS, compressed, out, file);
}

absl::Status InflateWrapped(absl::Span<const std::byte> compressed, absl::Span<std::byte> out,
                            const std::string& file) {
  constexpr int kEitherHeader = 32;
  return Inflate(kEitherHeader + MAX_WBITS, compressed, out, file);
}

absl::StatusOr<size_t> InflateFront(absl::Span<const std::byte> compressed,
                                    absl::Span<std::byte> out, const std::string& file) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
    return absl::ResourceExhaustedError(absl::StrCat("shard_loader: ", file, ": zlib: no memory"));
  }
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = inflate(&stream, Z_SYNC_FLUSH);
  const size_t written = out.size() - stream.avail_out;
  inflateEnd(&stream);
  // Z_BUF_ERROR: the end of what was given, which is only the front.
  if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) return written;
  return absl::DataLossError(
      absl::StrCat("shard_loader: ", file, ": a compressed record is corrupt"));
}

}  // namespace tessera::shard_loader
