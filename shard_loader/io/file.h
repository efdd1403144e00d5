// A file that is read at given places, exactly as much as is asked for.
#ifndef TESSERA_SHARD_LOADER_IO_FILE_H_
#define TESSERA_SHARD_LOADER_IO_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tessera::shard_loader {

// Owns a descriptor. Reads go through pread, so that a file cut short under us is an error and not
// a signal. Thread-compatible: bytes_read() counts without a lock.
class File {
 public:
  // NOT_FOUND: no such file. FAILED_PRECONDITION: no regular file, or not ours to read.
  static absl::StatusOr<File> Open(const std::filesystem::path& path);
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  uint64_t size() const { return size_; }  // when it was opened
  const std::string& name() const { return name_; }
  uint64_t bytes_read() const { return bytes_read_; }

  // Fills `bytes` from `offset`. DATA_LOSS where the file ends before.
  absl::Status ReadAt(uint64_t offset, absl::Span<std::byte> bytes);

 private:
  File(int descriptor, uint64_t size, std::string name)
      : descriptor_(descriptor), size_(size), name_(std::move(name)) {}

  int descriptor_ = -1;
  uint64_t size_ = 0;
  std::string name_;  // without folder
  uint64_t bytes_read_ = 0;
};

// A whole small file. DATA_LOSS where it has more than `most` bytes, before any is read.
absl::StatusOr<std::string> ReadSmallFile(const std::filesystem::path& path, uint64_t most);

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_FILE_H_
