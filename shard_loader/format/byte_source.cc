#include "shard_loader/format/byte_source.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::shard_loader {
namespace {

absl::Status Short(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  return absl::DataLossError(absl::StrCat(
      "shard_loader: ", source.name(), ": ", bytes, " bytes are expected from byte ", offset,
      " on, but the file has ", source.size(), "; it is truncated or corrupt, download it again"));
}

}  // namespace

absl::Status MemorySource::Read(uint64_t offset, absl::Span<char> out) const {
  if (!Within(offset, out.size(), bytes_.size())) return Short(*this, offset, out.size());
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadString(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  if (!Within(offset, bytes, source.size())) return Short(source, offset, bytes);
  std::string out(bytes, '\0');
  RETURN_IF_ERROR(source.Read(offset, absl::MakeSpan(out)));
  return out;
}

absl::Status Cursor::PastEnd(uint64_t bytes) const { return Short(source_, position_, bytes); }

absl::Status Cursor::Skip(uint64_t bytes) {
  if (!Within(position_, bytes, source_.size())) return PastEnd(bytes);
  position_ += bytes;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Cursor::Bytes(uint64_t bytes) {
  if (!Within(position_, bytes, source_.size())) return PastEnd(bytes);
  std::string out(bytes, '\0');
  RETURN_IF_ERROR(Take(absl::MakeSpan(out)));
  return out;
}

absl::Status Cursor::Take(absl::Span<char> out) {
  if (!Within(position_, out.size(), source_.size())) return PastEnd(out.size());
  if (out.empty()) return absl::OkStatus();
  const bool inside =
      position_ >= window_begin_ && Within(position_ - window_begin_, out.size(), window_.size());
  if (!inside) {
    if (out.size() >= kWindow) {
      RETURN_IF_ERROR(source_.Read(position_, out));
      position_ += out.size();
      return absl::OkStatus();
    }
    window_.resize(std::min<uint64_t>(kWindow, source_.size() - position_));
    window_begin_ = position_;
    RETURN_IF_ERROR(source_.Read(window_begin_, absl::MakeSpan(window_)));
  }
  std::memcpy(out.data(), window_.data() + (position_ - window_begin_), out.size());
  position_ += out.size();
  return absl::OkStatus();
}

}  // namespace tessera::shard_loader
