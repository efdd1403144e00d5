#include "worker/tensor/buffer.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tessera::worker {

absl::StatusOr<Buffer> Buffer::Allocate(int64_t bytes, absl::string_view what) {
  if (bytes < 0) {
    return absl::InternalError(absl::StrCat("worker: ", bytes, " bytes asked for ", what));
  }
  if (bytes == 0) return Buffer();
  void* data = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("worker: no memory for ", what, ": ", bytes,
                                                     " bytes (", strerror(errno),
                                                     "); ask for less, or for more ranks"));
  }
  // Fewer page faults and TLB misses where the kernel allows it; refused is as good.
  madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return Buffer(static_cast<std::byte*>(data), bytes);
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(size_));
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace tessera::worker
