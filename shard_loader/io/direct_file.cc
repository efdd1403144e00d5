#include "shard_loader/io/direct_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace tessera::shard_loader {
namespace {

// Of places in the file, lengths and memory: a multiple of the sectors of nearly all disks.
constexpr uint64_t kAlignment = 4096;
// The kernel cuts longer hints to what it reads ahead by default.
constexpr uint64_t kHintBytes = 128 << 10;

constexpr uint64_t Down(uint64_t value, uint64_t unit) { return value / unit * unit; }
constexpr uint64_t Up(uint64_t value, uint64_t unit) { return Down(value + unit - 1, unit); }

}  // namespace

std::byte* DirectBuffer::Reserve(uint64_t bytes) {
  if (bytes > size_) {
    bytes_.reset();
    size_ = Up(bytes, kAlignment);
    bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, size_)));
    if (bytes_ == nullptr) size_ = 0;
  }
  return bytes_.get();
}

std::optional<DirectFile> DirectFile::Open(const std::filesystem::path& path) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  int descriptor = open(path.c_str(), kFlags | O_DIRECT);
  const bool direct = descriptor >= 0;
  if (!direct) descriptor = open(path.c_str(), kFlags);
  if (descriptor < 0) return std::nullopt;
  DirectFile file(descriptor, 0);
  struct stat info {};
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  file.size_ = static_cast<uint64_t>(info.st_size);
  file.direct_ = direct;
  return file;
}

DirectFile::DirectFile(DirectFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      direct_(other.direct_) {}

DirectFile& DirectFile::operator=(DirectFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(direct_, other.direct_);
  return *this;
}

DirectFile::~DirectFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

bool DirectFile::Cached(uint64_t offset, uint64_t bytes) const {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = Down(offset, page);
  const uint64_t length = offset + bytes - begin;
  // Nobody touches the mapping, so a file that is cut short is no signal.
  void* const mapped =
      mmap(nullptr, length, PROT_NONE, MAP_SHARED, descriptor_, static_cast<off_t>(begin));
  if (mapped == MAP_FAILED) return true;
  std::vector<unsigned char> pages(Up(length, page) / page);
  const bool told = mincore(mapped, length, pages.data()) == 0;
  munmap(mapped, length);
  if (!told) return true;
  const auto there = std::count_if(pages.begin(), pages.end(),
                                   [](unsigned char flags) { return (flags & 1) != 0; });
  return static_cast<size_t>(there) * 2 > pages.size();
}

absl::Span<const std::byte> DirectFile::Read(uint64_t offset, uint64_t bytes,
                                             DirectBuffer& buffer) const {
  if (!direct_) return {};
  const uint64_t begin = Down(offset, kAlignment);
  const uint64_t wanted = offset + bytes - begin;
  const uint64_t length = Up(wanted, kAlignment);
  std::byte* const memory = buffer.Reserve(length);
  if (memory == nullptr) return {};
  uint64_t done = 0;
  // Behind a read that ends inside of a sector there is nothing: the file ends there.
  while (done < wanted && done % kAlignment == 0) {
    const ssize_t got =
        pread(descriptor_, memory + done, length - done, static_cast<off_t>(begin + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return {};
    done += static_cast<uint64_t>(got);
  }
  if (done < wanted) return {};
  return {memory + (offset - begin), bytes};
}

void DirectFile::Prefetch(uint64_t offset, uint64_t bytes) const {
  for (uint64_t at = 0; at < bytes; at += kHintBytes) {
    posix_fadvise(descriptor_, static_cast<off_t>(offset + at),
                  static_cast<off_t>(std::min(kHintBytes, bytes - at)), POSIX_FADV_WILLNEED);
  }
}

}  // namespace tessera::shard_loader
