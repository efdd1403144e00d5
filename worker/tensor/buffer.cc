#include "worker/tensor/buffer.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "shard_loader/status_macros.h"

namespace tessera::worker {

namespace {

absl::StatusOr<void*> MapPages(const FileMapping& file, int protection, int flags,
                               absl::string_view what) {
  if (file.bytes < 0) {
    return absl::InternalError(absl::StrCat("worker: ", file.bytes, " bytes asked for ", what));
  }
  if (file.bytes == 0) return nullptr;
  const size_t bytes = static_cast<size_t>(file.bytes);
  void* data = mmap(nullptr, bytes, protection, flags, file.fd, file.offset);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("worker: no memory for ", what, ": ", bytes,
                                                     " bytes (", strerror(errno),
                                                     "); ask for less, or for more ranks"));
  }
  // Fewer page faults and TLB misses where the kernel allows it; refused is as good.
  madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

}  // namespace

absl::StatusOr<Buffer> Buffer::Allocate(int64_t bytes, absl::string_view what) {
  ASSIGN_OR_RETURN(void* data, MapPages({.bytes = bytes}, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, what));
  return Buffer(static_cast<std::byte*>(data), bytes);
}

absl::StatusOr<Buffer> Buffer::Map(const FileMapping& file, absl::string_view what) {
  const int protection = file.writable ? PROT_READ | PROT_WRITE : PROT_READ;
  ASSIGN_OR_RETURN(void* data, MapPages(file, protection, MAP_SHARED, what));
  return Buffer(static_cast<std::byte*>(data), file.bytes);
}

Buffer Buffer::Adopt(std::byte* data, int64_t size, Release release) {
  Buffer buffer(data, size);
  buffer.release_ = release;
  return buffer;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (release_ != nullptr) {
    release_(data_);
  } else {
    munmap(data_, static_cast<size_t>(size_));
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      release_(std::exchange(other.release_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(release_, other.release_);
  return *this;
}

}  // namespace tessera::worker
