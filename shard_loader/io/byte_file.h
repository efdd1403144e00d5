// A File as the format readers take it.
#ifndef TESSERA_SHARD_LOADER_IO_BYTE_FILE_H_
#define TESSERA_SHARD_LOADER_IO_BYTE_FILE_H_

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "shard_loader/format/byte_source.h"
#include "shard_loader/io/file.h"

namespace tessera::shard_loader {

// Thread-compatible.
class ByteFile : public ByteSource {
 public:
  // Errors as File::Open.
  static absl::StatusOr<std::unique_ptr<ByteFile>> Open(const std::filesystem::path& path);

  const std::string& name() const override { return file_.name(); }
  uint64_t size() const override { return file_.size(); }
  absl::Status Read(uint64_t offset, absl::Span<char> out) const override;

 private:
  explicit ByteFile(File file) : file_(std::move(file)) {}

  mutable File file_;  // counts what it reads
};

}  // namespace tessera::shard_loader

#endif  // TESSERA_SHARD_LOADER_IO_BYTE_FILE_H_
