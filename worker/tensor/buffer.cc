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

constexpr uintptr_t kHugePage = uintptr_t{2} << 20;
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

absl::Status CheckSize(int64_t bytes, absl::string_view what) {
  if (bytes >= 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("worker: ", bytes, " bytes asked for ", what));
}

absl::Status NoMemory(int64_t bytes, absl::string_view what) {
  return absl::ResourceExhaustedError(absl::StrCat("worker: no memory for ", what, ": ", bytes,
                                                   " bytes (", strerror(errno),
                                                   "); ask for less, or for more ranks"));
}

// Addresses for `bytes` that begin a huge page; null where there are none.
std::byte* ReserveAligned(size_t bytes) {
  void* whole = mmap(nullptr, bytes + kHugePage, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (whole == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(whole);
  const uintptr_t aligned = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (aligned + bytes + 4095) / 4096 * 4096;
  if (aligned > begin) munmap(whole, aligned - begin);
  munmap(reinterpret_cast<void*>(end), begin + bytes + kHugePage - end);
  return reinterpret_cast<std::byte*>(aligned);
}

}  // namespace

absl::StatusOr<Buffer> Buffer::Allocate(int64_t bytes, absl::string_view what) {
  RETURN_IF_ERROR(CheckSize(bytes, what));
  if (bytes == 0) return Buffer();
  void* data = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return NoMemory(bytes, what);
  // Fewer page faults and TLB misses where the kernel allows it; refused is as good.
  madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return Buffer(static_cast<std::byte*>(data), bytes);
}

absl::StatusOr<Buffer> Buffer::Map(const FileMapping& file, absl::string_view what) {
  RETURN_IF_ERROR(CheckSize(file.bytes, what));
  if (file.bytes == 0) return Buffer();
  const size_t bytes = static_cast<size_t>(file.bytes);
  std::byte* at = ReserveAligned(bytes);
  const int protection = file.writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = at == nullptr
                   ? MAP_FAILED
                   : mmap(at, bytes, protection, MAP_SHARED | MAP_FIXED, file.fd, file.offset);
  if (data == MAP_FAILED) {
    absl::Status status = NoMemory(file.bytes, what);
    if (at != nullptr) munmap(at, bytes);
    return status;
  }
  // Streaming over small pages costs half of the speed on a virtual machine. Collapsing makes huge
  // pages of shared memory whatever the machine's settings say; all of this may be refused.
  madvise(data, bytes, MADV_HUGEPAGE);
  if (file.writable) madvise(data, bytes, MADV_COLLAPSE);
  if (!file.writable) madvise(data, bytes, MADV_POPULATE_READ);
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
