// A file without a name: nobody else opens it, and it is gone with its descriptor.
#ifndef TESSERA_SHARD_LOADER_IO_UNNAMED_FILE_H_
#define TESSERA_SHARD_LOADER_IO_UNNAMED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tessera::shard_loader {

// Read and written at any place. Its room is given back when the object or the process ends,
// however it does. Thread-compatible.
class UnnamedFile {
 public:
  // An empty one on the file system of `folder`. FAILED_PRECONDITION naming the folder where there
  // is none, or where nothing can be written.
  static absl::StatusOr<UnnamedFile> Create(const std::string& folder);
  UnnamedFile(UnnamedFile&& other) noexcept;
  UnnamedFile& operator=(UnnamedFile&& other) noexcept;
  UnnamedFile(const UnnamedFile&) = delete;
  UnnamedFile& operator=(const UnnamedFile&) = delete;
  ~UnnamedFile();

  // Takes the room of its first `bytes` now. RESOURCE_EXHAUSTED: the folder has not as much.
  absl::Status Reserve(int64_t bytes);
  absl::Status Write(absl::Span<const std::byte> bytes, int64_t offset);
  // DATA_LOSS: it ends before.
  absl::Status Read(int64_t offset, absl::Span<std::byte> bytes) const;

 private:
  UnnamedFile(int descriptor, std::string folder)
      : descriptor_(descriptor), folder_(std::move(folder)) {}
  absl::Status Error(int error, const std::string& what) const;

  int descriptor_ = -1;
  std::string folder_;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_UNNAMED_FILE_H_
