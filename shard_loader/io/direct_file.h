// Reads past the page cache (O_DIRECT): the disk writes into the caller's memory and no processor
// copies, so that bytes which are needed once cost nothing but the disk's time.
#ifndef TESSERA_SHARD_LOADER_IO_DIRECT_FILE_H_
#define TESSERA_SHARD_LOADER_IO_DIRECT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "absl/types/span.h"

namespace tessera::shard_loader {

// Memory for DirectFile::Read, kept from one read to the next.
class DirectBuffer {
 public:
  // At least `bytes` bytes at a multiple of what disks ask for; null where there is no memory.
  std::byte* Reserve(uint64_t bytes);

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  uint64_t size_ = 0;
};

// Owns a descriptor. Gives no reasons: what it cannot do is asked of a File, which says why.
// Thread-compatible.
class DirectFile {
 public:
  // Nothing where `path` is no regular file that we may read.
  static std::optional<DirectFile> Open(const std::filesystem::path& path);
  DirectFile(DirectFile&& other) noexcept;
  DirectFile& operator=(DirectFile&& other) noexcept;
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;
  ~DirectFile();

  uint64_t size() const { return size_; }  // when it was opened

  // Whether the page cache has most of these bytes; also where the kernel does not tell, since the
  // file is neither ours nor ours to write. Reads nothing.
  bool Cached(uint64_t offset, uint64_t bytes) const;

  // These bytes, somewhere in `buffer`, which they are valid as long as; up to 4,095 more on either
  // side are read with them. None where the file system has no such reads, the file ends before,
  // or the disk fails.
  absl::Span<const std::byte> Read(uint64_t offset, uint64_t bytes, DirectBuffer& buffer) const;

  // Has the kernel bring these bytes into the page cache, without waiting for them.
  void Prefetch(uint64_t offset, uint64_t bytes) const;

 private:
  DirectFile(int descriptor, uint64_t size) : descriptor_(descriptor), size_(size) {}

  int descriptor_ = -1;
  uint64_t size_ = 0;
  bool direct_ = false;  // else the file system refused, and only Prefetch works
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_DIRECT_FILE_H_
