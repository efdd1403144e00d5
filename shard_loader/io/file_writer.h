// A new file, written from front to back.
#ifndef TESSERA_SHARD_LOADER_IO_FILE_WRITER_H_
#define TESSERA_SHARD_LOADER_IO_FILE_WRITER_H_

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tessera::shard_loader {

// Written under a temporary name, which goes with the object unless it was finished.
// Thread-compatible.
class FileWriter {
 public:
  // FAILED_PRECONDITION: it cannot be made.
  static absl::StatusOr<FileWriter> Create(const std::filesystem::path& path);
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  // RESOURCE_EXHAUSTED: no room.
  absl::Status Write(absl::Span<const std::byte> bytes);
  absl::Status Write(std::string_view text);
  // Synchronises it and gives it its name.
  absl::Status Finish();

 private:
  FileWriter(int descriptor, std::filesystem::path path, std::filesystem::path temporary)
      : descriptor_(descriptor), path_(std::move(path)), temporary_(std::move(temporary)) {}
  absl::Status Error(const char* call) const;

  int descriptor_ = -1;
  std::filesystem::path path_;
  std::filesystem::path temporary_;
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_FILE_WRITER_H_
