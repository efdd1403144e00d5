// Random access to the bytes of a file, as the format readers see it: they do no I/O of their own.
#ifndef TESSERA_SHARD_LOADER_FORMAT_BYTE_SOURCE_H_
#define TESSERA_SHARD_LOADER_FORMAT_BYTE_SOURCE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tessera::shard_loader {

// Thread-compatible. Messages of a reader begin with name().
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual const std::string& name() const = 0;
  virtual uint64_t size() const = 0;
  // Fills `out` from byte `offset` on. DATA_LOSS: the file ends before that.
  virtual absl::Status Read(uint64_t offset, absl::Span<char> out) const = 0;
};

// Bytes that the caller keeps alive.
class MemorySource : public ByteSource {
 public:
  MemorySource(std::string name, std::string_view bytes) : name_(std::move(name)), bytes_(bytes) {}
  const std::string& name() const override { return name_; }
  uint64_t size() const override { return bytes_.size(); }
  absl::Status Read(uint64_t offset, absl::Span<char> out) const override;

 private:
  std::string name_;
  std::string_view bytes_;
};

// Whether `bytes` bytes from `offset` on lie inside of `size` bytes; no sum can wrap.
constexpr bool Within(uint64_t offset, uint64_t bytes, uint64_t size) {
  return offset <= size && bytes <= size - offset;
}

// `bytes` bytes from `offset` on. DATA_LOSS where they are not all there; nothing is allocated
// then.
absl::StatusOr<std::string> ReadString(const ByteSource& source, uint64_t offset, uint64_t bytes);

// Reads small little-endian fields one after another through a window, so that a header whose
// length is not known costs few reads. Every method: DATA_LOSS past the end of the source.
class Cursor {
 public:
  // Borrows the source.
  explicit Cursor(const ByteSource& source, uint64_t offset = 0)
      : source_(source), position_(offset) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return source_.size() - position_; }
  absl::Status Skip(uint64_t bytes);
  // The next `bytes` bytes.
  absl::StatusOr<std::string> Bytes(uint64_t bytes);
  // The next sizeof(T) bytes, little-endian.
  template <typename T>
  absl::Status Fixed(T& value) {
    return Take(absl::MakeSpan(reinterpret_cast<char*>(&value), sizeof(T)));
  }

 private:
  static constexpr uint64_t kWindow = 4 << 10;

  absl::Status Take(absl::Span<char> out);
  absl::Status PastEnd(uint64_t bytes) const;

  const ByteSource& source_;
  uint64_t position_;
  uint64_t window_begin_ = 0;
  std::string window_;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_FORMAT_BYTE_SOURCE_H_
